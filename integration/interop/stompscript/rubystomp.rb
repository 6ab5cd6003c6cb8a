# The gem stomp (ruby-stomp) against a broker: HOST:PORT,... VERSION FEATURE...
# Prints "ok FEATURE" or "not ok FEATURE: why" for each, and the steps of walk.
require 'stomp'
require 'timeout'

ADDRS, VERSION, *FEATURES = ARGV
CA = ENV['STOMP_CA'].to_s.empty? ? nil : ENV['STOMP_CA']
$stdout.sync = true

def client(beats = nil, reliable: false)
  headers = { 'accept-version' => VERSION, 'host' => '/' }
  headers['heart-beat'] = beats if beats
  c = Stomp::Connection.new(
    hosts: ADDRS.split(',').map do |addr|
      host, port = addr.split(':')
      ssl = CA ? Stomp::SSLParams.new(ts_files: CA, use_ruby_ciphers: true) : false
      { login: 'bob', passcode: 'secret', host: host, port: port.to_i, ssl: ssl }
    end,
    connect_headers: headers, reliable: reliable, randomize: false, connread_timeout: 10, start_timeout: 10,
    initial_reconnect_delay: 0.05, max_reconnect_delay: 1.0
  )
  raise "version #{c.protocol}" unless c.protocol == VERSION
  c
end

def take(c, want)
  m = Timeout.timeout(10) { c.receive }
  raise "got #{m.command} #{m.headers} #{m.body}" unless m.command == 'MESSAGE' && m.body == want
  m
end

def receipt(c, id)
  m = Timeout.timeout(10) { c.receive }
  raise "got #{m.command} #{m.headers} #{m.body}" unless m.command == 'RECEIPT' && m.headers['receipt-id'] == id
end

# answer waits for a frame; a lost one may never come.
def answer(c)
  Timeout.timeout(5) { c.receive }
rescue Timeout::Error
  nil
end

def confirmed(c, queue, body)
  c.publish(queue, body, 'persistent' => 'true', 'receipt' => body)
  loop do
    m = answer(c)
    return false if m.nil? || m.command == 'ERROR'
    return true if m.headers['receipt-id'] == body
  end
end

def ack(c, m, verb = :ack, more = {})
  case VERSION
  when '1.2' then c.send(verb, m.headers['ack'], more)
  when '1.1' then c.send(verb, m.headers['message-id'], more.merge('subscription' => 'sub'))
  else c.send(verb, m.headers['message-id'], more)
  end
end

TESTS = {
  'queue' => lambda {
    c = client
    (1..20).each do |i|
      c.publish('/queue/ruby.queue', "m#{i}", 'persistent' => 'true', 'n' => i.to_s, 'receipt' => "r#{i}")
      receipt(c, "r#{i}")
    end
    c.subscribe('/queue/ruby.queue', { 'id' => 'sub' }, 'sub')
    (1..20).each do |i|
      raise 'header' unless take(c, "m#{i}").headers['n'] == i.to_s
    end
    c.disconnect
  },
  'ack' => lambda {
    c = client
    %w[a b c].each { |b| c.publish('/queue/ruby.ack', b) }
    c.subscribe('/queue/ruby.ack', { 'id' => 'sub', 'ack' => 'client', 'activemq.prefetchSize' => '2' }, 'sub')
    take(c, 'a')
    ack(c, take(c, 'b'))
    take(c, 'c')
    c.disconnect('receipt' => 'bye')
    c = client
    c.subscribe('/queue/ruby.ack', { 'id' => 'sub', 'ack' => 'client' }, 'sub')
    m = take(c, 'c')
    raise 'not marked' unless m.headers['redelivered'] == 'true'
    ack(c, m)
    c.disconnect
  },
  'individual' => lambda {
    c = client
    %w[a b c].each { |b| c.publish('/queue/ruby.individual', b) }
    c.subscribe('/queue/ruby.individual', { 'id' => 'sub', 'ack' => 'client-individual' }, 'sub')
    _, b, = %w[a b c].map { |want| take(c, want) }
    ack(c, b)
    c.disconnect('receipt' => 'bye')
    c = client
    c.subscribe('/queue/ruby.individual', { 'id' => 'sub', 'ack' => 'client-individual' }, 'sub')
    %w[a c].each do |want|
      m = take(c, want)
      raise 'not marked' unless m.headers['redelivered'] == 'true'
      ack(c, m)
    end
    c.disconnect
  },
  'nack' => lambda {
    c = client
    c.publish('/queue/ruby.nack', 'x')
    c.subscribe('/queue/ruby.nack', { 'id' => 'sub', 'ack' => 'client-individual' }, 'sub')
    ack(c, take(c, 'x'), :nack, 'requeue' => 'true')
    ack(c, take(c, 'x'))
    c.disconnect
  },
  'transaction' => lambda {
    c = client
    c.begin('gone')
    c.publish('/queue/ruby.tx', 'never', 'transaction' => 'gone')
    c.abort('gone')
    c.begin('t')
    c.publish('/queue/ruby.tx', 'one', 'transaction' => 't')
    c.publish('/queue/ruby.tx', 'two', 'transaction' => 't')
    c.commit('t')
    c.subscribe('/queue/ruby.tx', { 'id' => 'sub', 'ack' => 'client' }, 'sub')
    take(c, 'one')
    m = take(c, 'two')
    c.begin('a')
    ack(c, m, :ack, 'transaction' => 'a')
    c.abort('a')
    c.begin('b')
    ack(c, m, :ack, 'transaction' => 'b')
    c.publish('/queue/ruby.tx', 'three', 'transaction' => 'b')
    c.commit('b')
    ack(c, take(c, 'three'))
    c.disconnect
  },
  'temporary' => lambda {
    asks = client
    serves = client
    serves.subscribe('/queue/ruby.service', { 'id' => 'sub' }, 'sub')
    asks.subscribe('/temp-queue/answers', { 'id' => 'sub' }, 'sub')
    asks.publish('/queue/ruby.service', 'question', 'reply-to' => '/temp-queue/answers')
    m = take(serves, 'question')
    serves.publish(m.headers['reply-to'], 'answer')
    take(asks, 'answer')
    [asks, serves].each(&:disconnect)
  },
  'beats' => lambda {
    c = client('500,500')
    c.subscribe('/queue/ruby.beats', { 'id' => 'sub' }, 'sub')
    sleep(2.5)
    c.publish('/queue/ruby.beats', 'alive')
    take(c, 'alive')
    c.disconnect
  },
  # One message after the other is sent and taken; when the broker dies the client
  # goes on at another one, until it has taken twenty steps there.
  'walk' => lambda {
    queue = "/queue/ruby.walk-#{VERSION}"
    sends = client(reliable: true)
    takes = client(reliable: true)
    takes.subscribe(queue, { 'id' => 'sub', 'ack' => 'client-individual' }, 'sub')
    first = sends.port
    sent = Hash.new(0)
    came = Hash.new(0)
    there = 0
    (0..).each do |i|
      break if there == 20
      loop do
        sent[i.to_s] += 1
        break if confirmed(sends, queue, i.to_s)
      end
      until came.key?(i.to_s)
        m = answer(takes)
        next unless m && m.command == 'MESSAGE' # ERROR of an ACK that came to the other broker
        b = m.body
        raise "#{b} came without having been sent" unless sent.key?(b)
        came[b] += m.headers['redelivered'] == 'true' ? 0 : 1
        raise "#{b} was sent #{sent[b]} times and came #{came[b]} times unmarked" if came[b] > sent[b]
        ack(takes, m)
      end
      there += 1 if sends.port != first && takes.port != first
      puts "step #{takes.port}"
    end
    [sends, takes].each { |c| c.disconnect('receipt' => 'bye') }
  }
}.freeze

FEATURES.each do |name|
  TESTS[name].call
  puts "ok #{name}"
rescue StandardError => e
  puts "not ok #{name}: #{e.class} #{e.message}".gsub(/\s+/, ' ')
end
