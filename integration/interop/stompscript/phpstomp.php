<?php
// The extension stomp of PHP (php-stomp) against a broker: HOST:PORT VERSION FEATURE...
// Prints "ok FEATURE" or "not ok FEATURE: why" for each. It speaks 1.0.
[, $addr, $version] = $argv;
$features = array_slice($argv, 3);

function client() {
    global $addr, $version;
    $s = new Stomp("tcp://$addr", 'bob', 'secret', ['accept-version' => $version, 'host' => '/']);
    if ($s->getSessionId() == '') {
        throw new Exception('no session');
    }
    $s->setReadTimeout(10);
    return $s;
}

function take($s, $want) {
    $f = $s->readFrame();
    if (!$f || $f->command != 'MESSAGE' || $f->body != $want) {
        throw new Exception('got ' . json_encode($f) . ", want $want");
    }
    return $f;
}

$tests = [
    'queue' => function () {
        $s = client();
        for ($i = 1; $i <= 20; $i++) {
            if (!$s->send('/queue/php.queue', "m$i", ['persistent' => 'true', 'n' => "$i", 'receipt' => "r$i"])) {
                throw new Exception('no receipt');
            }
        }
        $s->subscribe('/queue/php.queue', ['id' => 'sub', 'ack' => 'auto']);
        for ($i = 1; $i <= 20; $i++) {
            if (take($s, "m$i")->headers['n'] != "$i") {
                throw new Exception('header');
            }
        }
    },
    'ack' => function () {
        $s = client();
        foreach (['a', 'b', 'c'] as $b) {
            $s->send('/queue/php.ack', $b, ['receipt' => $b]);
        }
        $s->subscribe('/queue/php.ack', ['id' => 'sub', 'ack' => 'client', 'activemq.prefetchSize' => '2']);
        take($s, 'a');
        $s->ack(take($s, 'b'), ['subscription' => 'sub', 'receipt' => 'acked']);
        unset($s);
        $s = client();
        $s->subscribe('/queue/php.ack', ['id' => 'sub', 'ack' => 'client']);
        $s->ack(take($s, 'c'), ['subscription' => 'sub', 'receipt' => 'last']);
    },
    'transaction' => function () {
        $s = client();
        $s->begin('gone');
        $s->send('/queue/php.tx', 'never', ['transaction' => 'gone']);
        $s->abort('gone');
        $s->begin('t');
        $s->send('/queue/php.tx', 'one', ['transaction' => 't']);
        if (!$s->commit('t', ['receipt' => 'c'])) {
            throw new Exception('not committed');
        }
        $s->subscribe('/queue/php.tx', ['id' => 'sub', 'ack' => 'client']);
        $s->ack(take($s, 'one'), ['subscription' => 'sub', 'receipt' => 'a']);
    },
    'temporary' => function () {
        $asks = client();
        $serves = client();
        $serves->subscribe('/queue/php.service', ['id' => 'sub', 'ack' => 'auto', 'receipt' => 's']);
        $asks->subscribe('/temp-queue/answers', ['id' => 'sub', 'ack' => 'auto', 'receipt' => 's']);
        $asks->send('/queue/php.service', 'question', ['reply-to' => '/temp-queue/answers']);
        $serves->send(take($serves, 'question')->headers['reply-to'], 'answer');
        take($asks, 'answer');
    },
];

foreach ($features as $name) {
    try {
        $tests[$name]();
        echo "ok $name\n";
    } catch (Throwable $e) {
        $why = $e->getMessage() . ' ' . ($e instanceof StompException ? $e->getDetails() : '');
        echo "not ok $name: " . preg_replace('/\s+/', ' ', $why) . "\n";
    }
}
