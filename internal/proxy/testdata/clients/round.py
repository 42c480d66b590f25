import sys
import threading

import redis

(one, two, word) = sys.argv[1:4]
a, b = [redis.Redis(*at.split(":"), decode_responses=True) for at in (one, two)]
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()


def same(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def round_of(p):
    same(a.set(p + "s", "v", ex=100), True)
    same(b.get(p + "s"), "v")
    same(b.ttl(p + "s") > 90, True)
    same(b.get(p + "none"), None)
    same(a.incr(p + "n", 41), 41)
    add = b.register_script("return redis.call('INCR', KEYS[1])")
    same(add(keys=[p + "n"]), 42)
    a.hset(p + "h", mapping={"f": "1", "g": "2"})
    same(b.hgetall(p + "h"), {"f": "1", "g": "2"})
    a.zadd(p + "z", {"x": 1, "y": 2.5})
    same(b.zrange(p + "z", 0, -1, withscores=True), [("x", 1.0), ("y", 2.5)])
    a.mset({p + "m1": "1", p + "m2": "2"})
    same(b.mget(p + "m1", p + "none", p + "m2"), ["1", None, "2"])
    same(a.pipeline(transaction=False).rpush(p + "l", "a", "b").lrange(p + "l", 0, -1).execute(), [2, ["a", "b"]])
    same(b.pipeline().incr(p + "t").get(p + "t").execute(), [1, "1"])
    try:
        b.get(p + "l")
        raise AssertionError("GET of a list")
    except redis.ResponseError as e:
        same(str(e).startswith("WRONGTYPE"), True)

    def add_one(pipe):
        n = int(pipe.get(p + "t"))
        pipe.multi()
        pipe.set(p + "t", n + 1)

    a.transaction(add_one, p + "t")
    same(b.get(p + "t"), "2")
    pusher = threading.Timer(0.02, lambda: b.rpush(p + "q", "job"))
    pusher.start()
    same(a.blpop(p + "q", timeout=20), (p + "q", "job"))
    pusher.join()
    with b.pubsub() as listens:
        listens.subscribe(p + "c")
        same(listens.get_message(timeout=20)["type"], "subscribe")
        a.publish(p + "c", "hi")
        same(listens.get_message(timeout=20)["data"], "hi")
    with a.lock(p + "lock", timeout=20):
        same(b.lock(p + "lock", blocking=False).acquire(), False)
    entry = a.xadd(p + "x", {"f": "v"})
    same(b.xread({p + "x": "0"}), [[p + "x", [(entry, {"f": "v"})]]])
    for name in b.scan_iter(match=p + "*", count=500):
        same(name.startswith(p), True)
    same(b.delete(*[p + k for k in ("s", "n", "h", "z", "m1", "m2", "l", "t", "x")]), 9)
    same(a.exists(p + "s", p + "x"), 0)


n = 0
while not ended.is_set():
    n += 1
    for rule in ("mi", "mo"):
        round_of(f"{rule}:{word}:{n}:")
    print(f"round {n}", flush=True)
