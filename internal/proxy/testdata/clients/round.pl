use strict;
use warnings;
use IO::Select;
use Redis;

my ($one, $two, $word) = @ARGV;
my ($x, $y, $listens) = map { Redis->new(server => $_, read_timeout => 20) } ($one, $two, $two);
my $input = IO::Select->new(\*STDIN);
$| = 1;

sub same {
    my ($got, $want) = map { join '|', map { defined $_ ? $_ : '(undef)' } ref $_ ? @$_ : $_ } @_;
    die "got $got, want $want, line " . (caller)[2] . "\n" if $got ne $want;
}

sub round_of {
    my ($p) = @_;
    same $x->set("${p}s", 'v', 'EX', 100), 'OK';
    same $y->get("${p}s"), 'v';
    same $y->ttl("${p}s") > 90, 1;
    same $y->get("${p}none"), undef;
    same $x->incrby("${p}n", 41), 41;
    same $y->eval("return redis.call('INCR', KEYS[1])", 1, "${p}n"), 42;
    $x->hmset("${p}h", f => 1, g => 2);
    my %h = $y->hgetall("${p}h");
    same [map { "$_=$h{$_}" } sort keys %h], ['f=1', 'g=2'];
    $x->zadd("${p}z", 1, 'x', 2.5, 'y');
    same [$y->zrange("${p}z", 0, -1, 'WITHSCORES')], ['x', 1, 'y', 2.5];
    $x->mset("${p}m1", 1, "${p}m2", 2);
    same [$y->mget("${p}m1", "${p}none", "${p}m2")], [1, undef, 2];
    my @pipelined;
    $x->rpush("${p}l", 'a', sub { push @pipelined, $_[0] });
    $x->rpush("${p}l", 'b', sub { push @pipelined, $_[0] });
    $x->wait_all_responses;
    same \@pipelined, [1, 2];
    $y->multi; $y->incr("${p}t"); $y->get("${p}t");
    same [$y->exec], [1, 1];
    my $done;
    for (1 .. 20) {
        $x->watch("${p}t");
        my $n = $x->get("${p}t");
        $x->multi; $x->set("${p}t", $n + 1);
        my @replies = $x->exec;
        $done = @replies && defined $replies[0] and last;
    }
    same $done, 1;
    same $y->get("${p}t"), 2;
    $y->rpush("${p}q", 'job');
    same [$x->blpop("${p}q", 20)], ["${p}q", 'job'];
    my $heard = '';
    $listens->subscribe("${p}c", my $hear = sub { $heard = $_[0] });
    $x->publish("${p}c", 'hi');
    $listens->wait_for_messages(0.02) until $heard;
    $listens->unsubscribe("${p}c", $hear);
    same $heard, 'hi';
    my $cursor = 0;
    do {
        ($cursor, my $names) = $y->scan($cursor, 'MATCH', "$p*", 'COUNT', 500);
        same substr($_, 0, length $p), $p for @$names;
    } while $cursor;
    same $y->del(map { "$p$_" } qw(s n h z m1 m2 l t)), 8;
    same $x->exists("${p}s"), 0;
}

for (my $n = 1; ; $n++) {
    round_of("$_:$word:$n:") for qw(mi mo);
    print "round $n\n";
    last if $input->can_read(0) && !sysread STDIN, my $nothing, 1;
}
