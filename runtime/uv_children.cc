#include "runtime/uv_children.h"

#include <signal.h>

#include <cerrno>
#include <utility>

namespace layerd {
namespace {

// After its end a child's output is read on for so long: something it left behind may hold the pipe.
constexpr std::uint64_t kRestOfOutputMs = 100;

uv_handle_t* handle_of(void* handle) { return static_cast<uv_handle_t*>(handle); }

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (auto& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

// Owns itself through `self` while libuv names one of its handles. The process handle stays open until
// the child was reaped, whoever still cares.
struct UvChildren::Child final : Pending<ChildEnd> {
  Child(UvChildren& o, ChildCommand c, Done<ChildEnd> done)
      : Pending<ChildEnd>(std::move(done)),
        owner(&o),
        command(std::move(c)),
        entry(o.loop_.ledger(), "child process", command.arguments[0], o.loop_.now()) {}

  void on_cancel() noexcept override {
    kill_session();
    close_all_but_process();
  }

  int start(uv_loop_t* loop);
  void feed();
  void on_output(ssize_t count);
  void on_exit(std::int64_t exit_status, int exit_signal);
  void give_up(ChildEnd::How how);
  void finish();
  void kill_session() noexcept {
    if (is_running) ::kill(-process.pid, SIGKILL);
  }
  void close(void* handle) noexcept {
    if (!uv_is_closing(handle_of(handle))) uv_close(handle_of(handle), on_closed);
  }
  void close_all_but_process() noexcept {
    close(&input);
    close(&output);
    close(&timer);
  }

  static void on_closed(uv_handle_t* handle) noexcept {
    auto* child = static_cast<Child*>(handle->data);
    if (--child->open_handles > 0) return;
    if (child->owner != nullptr) child->owner->all_.erase(child);
    auto last = std::move(child->self);
  }
  static void on_alloc(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept {
    auto* child = static_cast<Child*>(handle->data);
    *buffer = uv_buf_init(child->read_buffer, sizeof child->read_buffer);
  }

  UvChildren* owner;  // null once it is gone
  ChildCommand command;
  LedgerEntry entry;
  std::shared_ptr<Child> self;
  int open_handles = 0;
  uv_process_t process{};
  uv_pipe_t input{}, output{};
  uv_timer_t timer{};
  uv_write_t writing{};
  char read_buffer[16u << 10];
  bool is_running = false;
  bool is_output_over = false;
  ChildEnd end;
};

// Opens every handle, then spawns; all of them are to be closed whatever it answers.
int UvChildren::Child::start(uv_loop_t* loop) {
  uv_pipe_init(loop, &input, 0);
  uv_pipe_init(loop, &output, 0);
  uv_timer_init(loop, &timer);
  open_handles = 4;
  input.data = output.data = timer.data = process.data = this;

  uv_stdio_container_t streams[3];
  streams[0].flags = static_cast<uv_stdio_flags>(UV_CREATE_PIPE | UV_READABLE_PIPE);
  streams[0].data.stream = reinterpret_cast<uv_stream_t*>(&input);
  streams[1].flags = static_cast<uv_stdio_flags>(UV_CREATE_PIPE | UV_WRITABLE_PIPE);
  streams[1].data.stream = reinterpret_cast<uv_stream_t*>(&output);
  streams[2].flags = UV_IGNORE;
  auto arguments = pointers_to(command.arguments), environment = pointers_to(command.environment);
  uv_process_options_t options{};
  options.file = command.arguments[0].c_str();
  options.args = arguments.data();
  options.env = environment.data();
  options.cwd = "/";
  options.flags = UV_PROCESS_DETACHED;
  options.stdio = streams;
  options.stdio_count = 3;
  options.exit_cb = [](uv_process_t* handle, std::int64_t exit_status, int exit_signal) noexcept {
    static_cast<Child*>(handle->data)->on_exit(exit_status, exit_signal);
  };
  const int failed = uv_spawn(loop, &process, &options);
  process.data = this;
  if (failed != 0) return failed;
  is_running = true;
  feed();
  uv_read_start(reinterpret_cast<uv_stream_t*>(&output), on_alloc,
                [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) noexcept {
                  static_cast<Child*>(stream->data)->on_output(count);
                });
  uv_update_time(loop);
  const auto limit_ms = std::chrono::duration_cast<std::chrono::milliseconds>(command.limit).count();
  uv_timer_start(
      &timer,
      [](uv_timer_t* handle) noexcept {
        auto* child = static_cast<Child*>(handle->data);
        child->is_running ? child->give_up(ChildEnd::How::took_too_long) : child->finish();
      },
      static_cast<std::uint64_t>(limit_ms), 0);
  return 0;
}

// A child that does not read its input is its own affair: what it answers counts.
void UvChildren::Child::feed() {
  const uv_buf_t text = uv_buf_init(command.input.data(), static_cast<unsigned>(command.input.size()));
  const int failed = uv_write(&writing, reinterpret_cast<uv_stream_t*>(&input), &text, 1,
                              [](uv_write_t* request, int) noexcept {
                                auto* child = static_cast<Child*>(request->handle->data);
                                child->close(&child->input);
                              });
  if (failed != 0) close(&input);
}

void UvChildren::Child::on_output(ssize_t count) {
  if (count == 0) return;
  if (count < 0) {
    is_output_over = true;
    close(&output);
    if (!is_running) finish();
    return;
  }
  end.output.append(read_buffer, static_cast<std::size_t>(count));
  if (end.output.size() > command.most_output) give_up(ChildEnd::How::said_too_much);
}

void UvChildren::Child::on_exit(std::int64_t exit_status, int exit_signal) {
  is_running = false;
  close(&process);
  end.how = exit_signal != 0 ? ChildEnd::How::by_signal : ChildEnd::How::exited;
  end.status = static_cast<int>(exit_status);
  end.signal = exit_signal;
  if (!wanted()) return;
  if (is_output_over) return finish();
  uv_timer_start(
      &timer, [](uv_timer_t* handle) noexcept { static_cast<Child*>(handle->data)->finish(); },
      kRestOfOutputMs, 0);
}

void UvChildren::Child::give_up(ChildEnd::How how) {
  kill_session();
  ChildEnd told;
  told.how = how;
  close_all_but_process();
  answer(std::move(told));
}

void UvChildren::Child::finish() {
  close_all_but_process();
  answer(std::move(end));
}

Ticket UvChildren::run(ChildCommand command, Done<ChildEnd> done) {
  LAYERD_ON_LOOP(loop_);
  LAYERD_CHECK(!command.arguments.empty());
  auto child = std::make_shared<Child>(*this, std::move(command), std::move(done));
  child->self = child;
  all_.insert(child.get());
  if (const int failed = child->start(loop_.raw()); failed != 0) {
    child->close_all_but_process();
    child->close(&child->process);
    auto error = errno_error("cannot run " + child->command.arguments[0], -failed,
                             failed == UV_ENOENT ? Errc::not_found : Errc::local_io);
    loop_.post_detached([child, error = std::move(error)] { child->answer(error); });
  }
  return Ticket(child);
}

// Who was killed here is reaped by whoever reaps us.
UvChildren::~UvChildren() {
  for (auto* child : std::exchange(all_, {})) {
    child->owner = nullptr;
    auto keep = child->self;
    child->cancel();
    child->kill_session();
    child->close_all_but_process();
    child->close(&child->process);
  }
}

}  // namespace layerd
