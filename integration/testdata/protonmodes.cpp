// Proton for C++: what its examples do not do. A sender and a receiver that settle as they are told, credit one at a
// time and many, and a drain.
//
// protonmodes HOST:PORT QUEUE unsettled|settled
#include <proton/connection.hpp>
#include <proton/container.hpp>
#include <proton/delivery.hpp>
#include <proton/delivery_mode.hpp>
#include <proton/error_condition.hpp>
#include <proton/message.hpp>
#include <proton/messaging_handler.hpp>
#include <proton/receiver.hpp>
#include <proton/receiver_options.hpp>
#include <proton/sender.hpp>
#include <proton/sender_options.hpp>
#include <proton/tracker.hpp>
#include <proton/types.hpp>

#include <iostream>
#include <stdexcept>
#include <string>

namespace {

const int count = 10;   // of messages
const int one_by_one = 3; // of them with a credit of one
const int many = 100;   // credit for the others, of which the rest is drained

class modes : public proton::messaging_handler {
  public:
    modes(const std::string &url, const std::string &queue, bool settled)
        : url_(url), queue_(queue), settled_(settled),
          mode_(settled ? proton::delivery_mode::AT_MOST_ONCE : proton::delivery_mode::AT_LEAST_ONCE) {}

    bool drained() const { return drained_; }

  private:
    void on_container_start(proton::container &c) override { c.connect(url_); }

    void on_connection_open(proton::connection &c) override {
        c.open_sender(queue_, proton::sender_options().delivery_mode(mode_));
    }

    void on_sendable(proton::sender &s) override {
        for (; sent_ < count && s.credit() > 0; sent_++) {
            proton::message m(sent_);
            m.durable(true);
            s.send(m);
        }
        if (settled_ && sent_ == count) receive(s.connection());
    }

    void on_tracker_accept(proton::tracker &t) override {
        if (++accepted_ == count) receive(t.connection());
    }

    void receive(proton::connection c) {
        if (receiving_) return;
        receiving_ = true;
        c.open_receiver(queue_, proton::receiver_options().credit_window(0).auto_accept(false).delivery_mode(mode_));
    }

    void on_receiver_open(proton::receiver &r) override { r.add_credit(1); }

    void on_message(proton::delivery &d, proton::message &m) override {
        if (proton::get<int>(m.body()) != received_) throw std::runtime_error("a message is out of its order");
        if (d.settled() != settled_) throw std::runtime_error("a message is settled otherwise than it was asked for");
        if (!settled_) d.accept();
        proton::receiver r = d.receiver();
        if (++received_ < one_by_one) {
            r.add_credit(1);
        } else if (received_ == one_by_one) {
            r.add_credit(many);
        } else if (received_ == count) {
            r.drain();
        }
    }

    void on_receiver_drain_finish(proton::receiver &r) override {
        if (r.credit() != 0) throw std::runtime_error("credit is left behind a drain");
        drained_ = true;
        r.connection().close();
    }

    void on_error(const proton::error_condition &e) override { throw std::runtime_error(e.what()); }

    std::string url_, queue_;
    bool settled_;
    proton::delivery_mode mode_;
    int sent_ = 0, accepted_ = 0, received_ = 0;
    bool receiving_ = false, drained_ = false;
};

} // namespace

int main(int, char **argv) {
    try {
        modes handler(argv[1], argv[2], argv[3] == std::string("settled"));
        proton::container(handler).run();
        if (!handler.drained()) throw std::runtime_error("the connection ended before the drain");
        std::cout << "drained" << std::endl;
        return 0;
    } catch (const std::exception &e) {
        std::cerr << e.what() << std::endl;
        return 1;
    }
}
