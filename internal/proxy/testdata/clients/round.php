<?php
// What the programs of PHP share: their addresses, and rounds until the input ends.
$addresses = array_map(function ($at) {
    [$host, $port] = explode(':', $at);
    return [$host, (int) $port];
}, array_slice($argv, 1, 2));
stream_set_blocking(STDIN, false);

function same($got, $want): void
{
    if ($got != $want || is_bool($want) && $got !== $want) {
        fwrite(STDERR, 'got ' . json_encode($got) . ', want ' . json_encode($want) . "\n" . (new Exception())->getTraceAsString() . "\n");
        exit(1);
    }
}

function optimistic(callable $once): void
{
    for ($tries = 0; $tries < 20; $tries++) {
        if ($once()) {
            return;
        }
    }
    same('20 optimistic transactions failed', 'one that succeeds');
}

function rounds(callable $round): void
{
    global $argv;
    for ($n = 1; !(fgets(STDIN) === false && feof(STDIN)); $n++) {
        foreach (['mi', 'mo'] as $rule) {
            $round("$rule:$argv[3]:$n:");
        }
        echo "round $n\n";
    }
}
