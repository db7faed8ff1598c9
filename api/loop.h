// SPDX-License-Identifier: Apache-2.0
// The words of Boost.Asio that the HTTP server is written in, and two small things to wait for. Included by
// http_server.cc and http_session.cc alone: Asio is slow to compile and stays out of every other file.
//
// Compilers of the g++ 12 family miscompile some coroutines: every operand of co_await is a plain call or a named
// variable, and no lambda is a coroutine.
#pragma once

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

namespace caisson::api {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using Executor = asio::io_context::executor_type;  // the type itself: a fifth less to compile than any_io_executor
template <typename T>
using Task = asio::awaitable<T, Executor>;
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;
using TlsStream = asio::ssl::stream<Socket&>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> kTask{};

// One waiter, on the loop's thread. Set() before Wait() is remembered.
class Event {
 public:
  explicit Event(Executor executor) : timer_(executor) {}
  void Set() {
    set_ = true;
    timer_.cancel();
  }
  // False: the time is over.
  Task<bool> Wait(milliseconds timeout) {
    if (!set_) {
      timer_.expires_after(timeout);
      co_await timer_.async_wait(kTask);
    }
    co_return std::exchange(set_, false);
  }

 private:
  Timer timer_;
  bool set_ = false;
};

// Wakes a stream's sender from any thread; many notifications between two looks are one.
class Wake {
 public:
  explicit Wake(Executor executor) : executor_(executor), event_(executor) {}
  static std::function<void()> Notifier(const std::shared_ptr<Wake>& wake) {
    return [weak = std::weak_ptr<Wake>(wake)] {
      const std::shared_ptr<Wake> target = weak.lock();
      if (!target || target->pending_.exchange(true)) return;
      const Executor executor = target->executor_;
      asio::post(executor, [weak] {
        if (const std::shared_ptr<Wake> still = weak.lock()) still->event_.Set();
      });
    };
  }
  void Reset() { pending_ = false; }
  void Set() { event_.Set(); }
  Task<bool> Wait(milliseconds timeout) { return event_.Wait(timeout); }

 private:
  Executor executor_;
  Event event_;
  std::atomic<bool> pending_{false};
};

}  // namespace caisson::api
