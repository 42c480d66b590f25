<?php
// The library php-predis.
require __DIR__ . '/round.php';
require 'Predis/Autoloader.php';
Predis\Autoloader::register();

[$a, $b] = array_map(fn ($at) => new Predis\Client(['host' => $at[0], 'port' => $at[1], 'read_write_timeout' => 20]), $addresses);

rounds(function ($p) use ($a, $b) {
    same((string) $a->set($p . 's', 'v', 'EX', 100), 'OK');
    same($b->get($p . 's'), 'v');
    same($b->ttl($p . 's') > 90, true);
    same($b->get($p . 'none'), null);
    same($a->incrby($p . 'n', 41), 41);
    same($b->eval("return redis.call('INCR', KEYS[1])", 1, $p . 'n'), 42);
    $a->hmset($p . 'h', ['f' => '1', 'g' => '2']);
    same($b->hgetall($p . 'h'), ['f' => '1', 'g' => '2']);
    $a->zadd($p . 'z', ['x' => 1, 'y' => 2.5]);
    same($b->zrange($p . 'z', 0, -1, ['withscores' => true]), ['x' => '1', 'y' => '2.5']);
    $a->mset([$p . 'm1' => '1', $p . 'm2' => '2']);
    same($b->mget([$p . 'm1', $p . 'none', $p . 'm2']), ['1', null, '2']);
    same($a->pipeline(function ($pipe) use ($p) {
        $pipe->rpush($p . 'l', ['a', 'b']);
        $pipe->lrange($p . 'l', 0, -1);
    }), [2, ['a', 'b']]);
    same($b->transaction(function ($tx) use ($p) {
        $tx->incr($p . 't');
        $tx->get($p . 't');
    }), [1, '1']);
    $a->transaction(['cas' => true, 'watch' => $p . 't', 'retry' => 20], function ($tx) use ($p) {
        $n = (int) $tx->get($p . 't');
        $tx->multi();
        $tx->set($p . 't', $n + 1);
    });
    same($b->get($p . 't'), '2');
    $b->rpush($p . 'q', ['job']);
    same($a->blpop([$p . 'q'], 20), [$p . 'q', 'job']);
    foreach (new Predis\Collection\Iterator\Keyspace($b, $p . '*', 500) as $name) {
        same(str_starts_with($name, $p), true);
    }
    same($b->del(array_map(fn ($k) => $p . $k, ['s', 'n', 'h', 'z', 'm1', 'm2', 'l', 't'])), 8);
    same($a->exists($p . 's'), 0);
});
