<?php
// The extension php-redis.
require __DIR__ . '/round.php';

[$a, $b] = array_map(function ($at) {
    $r = new Redis();
    $r->connect($at[0], $at[1], 20);
    return $r;
}, $addresses);

rounds(function ($p) use ($a, $b) {
    same($a->set($p . 's', 'v', ['ex' => 100]), true);
    same($b->get($p . 's'), 'v');
    same($b->ttl($p . 's') > 90, true);
    same($b->get($p . 'none'), false);
    same($a->incrBy($p . 'n', 41), 41);
    same($b->eval("return redis.call('INCR', KEYS[1])", [$p . 'n'], 1), 42);
    $a->hMSet($p . 'h', ['f' => '1', 'g' => '2']);
    same($b->hGetAll($p . 'h'), ['f' => '1', 'g' => '2']);
    $a->zAdd($p . 'z', 1, 'x', 2.5, 'y');
    same($b->zRange($p . 'z', 0, -1, true), ['x' => 1.0, 'y' => 2.5]);
    $a->mSet([$p . 'm1' => '1', $p . 'm2' => '2']);
    same($b->mGet([$p . 'm1', $p . 'none', $p . 'm2']), ['1', false, '2']);
    same($a->multi(Redis::PIPELINE)->rPush($p . 'l', 'a', 'b')->lRange($p . 'l', 0, -1)->exec(), [2, ['a', 'b']]);
    same($b->multi()->incr($p . 't')->get($p . 't')->exec(), [1, '1']);
    optimistic(function () use ($a, $p) {
        $a->watch($p . 't');
        $n = (int) $a->get($p . 't');
        return $a->multi()->set($p . 't', $n + 1)->exec();
    });
    same($b->get($p . 't'), '2');
    $b->rPush($p . 'q', 'job');
    same($a->blPop([$p . 'q'], 20), [$p . 'q', 'job']);
    $id = $a->xAdd($p . 'x', '*', ['f' => 'v']);
    same($b->xRange($p . 'x', '-', '+'), [$id => ['f' => 'v']]);
    $cursor = null;
    $b->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    while ($names = $b->scan($cursor, $p . '*', 500)) {
        foreach ($names as $name) {
            same(str_starts_with($name, $p), true);
        }
    }
    same($b->del(array_map(fn ($k) => $p . $k, ['s', 'n', 'h', 'z', 'm1', 'm2', 'l', 't', 'x'])), 9);
    same($a->exists($p . 's', $p . 'x'), 0);
});
