# Net::Stomp (libnet-stomp-perl) against a broker: HOST:PORT,... VERSION FEATURE...
# Prints "ok FEATURE" or "not ok FEATURE: why" for each, and the steps of walk.
use strict;
use warnings;
use Net::Stomp;
use Net::Stomp::Frame;

my ($addrs, $version, @features) = @ARGV;
my $ca = $ENV{STOMP_CA};
my @hosts = map {
    my ($h, $p) = split /:/;
    { hostname => $h, port => $p, $ca ? (ssl => 1, ssl_options => { SSL_ca_file => $ca, SSL_verify_mode => 1 }) : () }
} split /,/, $addrs;
$| = 1;
$SIG{__WARN__} = sub { };    # it warns of every connection that it makes again

sub client {
    my (%more) = @_;
    my $s = Net::Stomp->new({ hosts => [@hosts], connect_delay => 1 });
    my $f = $s->connect({ login => 'bob', passcode => 'secret', host => '/', 'accept-version' => $version, %more });
    die 'connect: ' . $f->as_string unless $f->command eq 'CONNECTED';
    die 'version ' . $f->headers->{version} unless $f->headers->{version} eq $version;
    return $s;
}

sub frame { $_[0]->send_frame(Net::Stomp::Frame->new({ command => $_[1], headers => $_[2] })) }

sub take {
    my ($s, $want) = @_;
    my $f = $s->receive_frame({ timeout => 10 }) or die "no frame, want $want";
    die "got " . $f->as_string if $f->command ne 'MESSAGE' || $f->body ne $want;
    return $f;
}

sub settle {
    my ($s, $f, %more) = @_;
    my %h = (%more);
    if ($version eq '1.2') { $h{id} = $f->headers->{ack} }
    else { $h{'message-id'} = $f->headers->{'message-id'}; $h{subscription} = 'sub' }
    frame($s, delete $h{command} || 'ACK', \%h);
}

my %test = (
    queue => sub {
        my $s = client();
        for my $i (1 .. 20) {
            $s->send_with_receipt({ destination => '/queue/perl.queue', body => "m$i", persistent => 'true', n => $i }, { timeout => 10 })
                or die 'no receipt';
        }
        $s->subscribe({ destination => '/queue/perl.queue', id => 'sub' });
        for my $i (1 .. 20) {
            my $f = take($s, "m$i");
            die 'header' unless $f->headers->{n} eq $i;
        }
        $s->disconnect;
    },
    ack => sub {
        my $s = client();
        $s->send_with_receipt({ destination => '/queue/perl.ack', body => $_ }, { timeout => 10 }) or die 'no receipt' for qw(a b c);
        $s->subscribe({ destination => '/queue/perl.ack', id => 'sub', ack => 'client', 'activemq.prefetchSize' => 2 });
        take($s, 'a');
        settle($s, take($s, 'b'));
        take($s, 'c');
        $s->disconnect;
        $s = client();
        $s->subscribe({ destination => '/queue/perl.ack', id => 'sub', ack => 'client' });
        my $f = take($s, 'c');
        die 'not marked' unless ($f->headers->{redelivered} || '') eq 'true';
        settle($s, $f);
        $s->disconnect;
    },
    individual => sub {
        my $s = client();
        $s->send_with_receipt({ destination => '/queue/perl.individual', body => $_ }, { timeout => 10 }) or die 'no receipt' for qw(a b c);
        $s->subscribe({ destination => '/queue/perl.individual', id => 'sub', ack => 'client-individual' });
        take($s, 'a');
        my $b = take($s, 'b');
        take($s, 'c');
        settle($s, $b);
        $s->disconnect;
        $s = client();
        $s->subscribe({ destination => '/queue/perl.individual', id => 'sub', ack => 'client-individual' });
        for my $want (qw(a c)) {
            my $f = take($s, $want);
            die 'not marked' unless ($f->headers->{redelivered} || '') eq 'true';
            settle($s, $f);
        }
        $s->disconnect;
    },
    nack => sub {
        my $s = client();
        $s->send_with_receipt({ destination => '/queue/perl.nack', body => 'x' }, { timeout => 10 }) or die 'no receipt';
        $s->subscribe({ destination => '/queue/perl.nack', id => 'sub', ack => 'client-individual' });
        settle($s, take($s, 'x'), command => 'NACK', requeue => 'true');
        settle($s, take($s, 'x'));
        $s->disconnect;
    },
    beats => sub {    # of the server: this client sends none
        my $s = client('heart-beat' => '0,500');
        $s->subscribe({ destination => '/queue/perl.beats', id => 'sub' });
        sleep 3;
        my $beats = '';
        while (length $beats < 4) { $s->socket->sysread($beats, 100, length $beats) or die 'the end' }
        die "no beats: $beats" unless $beats =~ /^\n+$/;
        $s->send({ destination => '/queue/perl.beats', body => 'alive' });
        take($s, 'alive');
        $s->disconnect;
    },
    transaction => sub {
        my $s = client();
        $s->send_transactional({ destination => '/queue/perl.tx', body => 'sent' }, { timeout => 10 }) or die 'not committed';
        frame($s, 'BEGIN', { transaction => 'gone' });
        $s->send({ destination => '/queue/perl.tx', body => 'never', transaction => 'gone' });
        frame($s, 'ABORT', { transaction => 'gone' });
        $s->subscribe({ destination => '/queue/perl.tx', id => 'sub', ack => 'client' });
        my $f = take($s, 'sent');
        frame($s, 'BEGIN', { transaction => 't' });
        settle($s, $f, transaction => 't');
        $s->send({ destination => '/queue/perl.tx', body => 'next', transaction => 't' });
        frame($s, 'COMMIT', { transaction => 't' });
        settle($s, take($s, 'next'));
        $s->disconnect;
    },
    temporary => sub {
        my ($asks, $serves) = (client(), client());
        $serves->subscribe({ destination => '/queue/perl.service', id => 'sub' });
        $asks->subscribe({ destination => '/temp-queue/answers', id => 'sub' });
        $asks->send({ destination => '/queue/perl.service', body => 'question', 'reply-to' => '/temp-queue/answers' });
        my $f = take($serves, 'question');
        $serves->send({ destination => $f->headers->{'reply-to'}, body => 'answer' });
        take($asks, 'answer');
        $_->disconnect for $asks, $serves;
    },
);

# walk sends and takes one message after the other, and goes on at another broker
# when its own dies, until it has taken twenty steps there.
$test{walk} = sub {
    my $queue = "/queue/perl.walk-$version";
    my ($sends, $takes) = (client(), client());
    my ($first, $there, %sent, %seen, %came) = ($sends->port, 0);
    $takes->subscribe({ destination => $queue, id => 'sub', ack => 'client-individual' });
    for (my $i = 0; $there < 20; $i++) {
        my $body = "m$i";    # a body of 0 would be none
        do { $sent{$body}++ } until $sends->send_with_receipt({ destination => $queue, body => $body, persistent => 'true', timeout => 5 });
        until ($seen{$body}) {
            my $f = eval { $takes->receive_frame({ timeout => 5 }) } or next;
            next if $f->command ne 'MESSAGE';    # ERROR of an ACK that came to the other broker
            my $b = $f->body;
            die "$b came without having been sent" unless $sent{$b};
            $came{$b}++ if ($f->headers->{redelivered} || '') ne 'true';
            die "$b was sent $sent{$b} times and came $came{$b} times unmarked" if ($came{$b} || 0) > $sent{$b};
            $seen{$b} = 1;
            settle($takes, $f);
        }
        $there++ if $sends->port != $first && $takes->port != $first;
        print 'step ' . $takes->port . "\n";
    }
    $_->disconnect for $sends, $takes;
};

for my $name (@features) {
    my $ok = eval { $test{$name}->(); 1 };
    (my $why = $@ || '') =~ s/\s+/ /g;
    print $ok ? "ok $name\n" : "not ok $name: $why\n";
}
