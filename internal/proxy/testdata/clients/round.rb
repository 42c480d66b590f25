require "redis"

one, two, word = ARGV
a, b, waits = [one, two, one].map { |at| host, port = at.split(":"); Redis.new(host: host, port: port.to_i, reconnect_attempts: 0) }
ended = false
Thread.new { $stdin.read; ended = true }
Thread.abort_on_exception = true

def same(got, want)
  raise "got #{got.inspect}, want #{want.inspect}" unless got == want
end

round = lambda do |p|
  same a.set(p + "s", "v", ex: 100), "OK"
  same b.get(p + "s"), "v"
  same b.ttl(p + "s") > 90, true
  same b.get(p + "none"), nil
  same a.incrby(p + "n", 41), 41
  same b.eval("return redis.call('INCR', KEYS[1])", keys: [p + "n"]), 42
  a.hset(p + "h", "f", "1", "g", "2")
  same b.hgetall(p + "h"), { "f" => "1", "g" => "2" }
  a.zadd(p + "z", [[1, "x"], [2.5, "y"]])
  same b.zrange(p + "z", 0, -1, with_scores: true), [["x", 1.0], ["y", 2.5]]
  a.mset(p + "m1", "1", p + "m2", "2")
  same b.mget(p + "m1", p + "none", p + "m2"), ["1", nil, "2"]
  same(a.pipelined { |c| c.rpush(p + "l", %w[a b]); c.lrange(p + "l", 0, -1) }, [2, %w[a b]])
  same(b.multi { |c| c.incr(p + "t"); c.get(p + "t") }, [1, "1"])
  begin
    b.get(p + "l")
    raise "GET of a list"
  rescue Redis::CommandError => e
    same e.message.start_with?("WRONGTYPE"), true
  end
  done = (1..20).any? do
    a.watch(p + "t") do
      n = a.get(p + "t").to_i
      a.multi { |c| c.set(p + "t", n + 1) }
    end
  end
  same done, true
  same b.get(p + "t"), "2"
  popped = Thread.new { waits.blpop(p + "q", timeout: 20) }
  b.rpush(p + "q", "job")
  same popped.value, [p + "q", "job"]
  host, port = two.split(":")
  heard = nil
  Redis.new(host: host, port: port.to_i).tap do |listens|
    listens.subscribe_with_timeout(20, p + "c") do |on|
      on.subscribe { a.publish(p + "c", "hi") }
      on.message { |_, text| heard = text; listens.unsubscribe(p + "c") }
    end
    listens.close
  end
  same heard, "hi"
  entry = a.xadd(p + "x", { "f" => "v" })
  same b.xrange(p + "x"), [[entry, { "f" => "v" }]]
  b.scan_each(match: p + "*", count: 500) { |name| same name.start_with?(p), true }
  same b.del(*%w[s n h z m1 m2 l t x].map { |k| p + k }), 9
  same a.exists(p + "s", p + "x"), 0
end

n = 0
until ended
  n += 1
  %w[mi mo].each { |rule| round.call("#{rule}:#{word}:#{n}:") }
  puts "round #{n}"
  $stdout.flush
end
