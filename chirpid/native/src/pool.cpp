#include "pool.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "common.h"

namespace {

struct Job {
    ChirpidWork work;
    void* context;
    int64_t num_chunks;
    std::atomic<int64_t> next{0};
    std::atomic<int> num_helping{0};

    void take_part() {
        for (int64_t chunk; (chunk = next.fetch_add(1, std::memory_order_relaxed)) < num_chunks;)
            work(context, chunk);
    }
};

class Pool {
  public:
    explicit Pool(Pool* before) : before_(before) {}

    bool run(int num_helpers, Job& job) {
        std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
        if (!turn.owns_lock()) return false;
        start(num_helpers);
        {
            std::lock_guard<std::mutex> hold(state_);
            job_ = &job;
            num_wanted_ = num_helpers;
        }
        for (int i = 0; i < num_helpers; i++) wake_.notify_one();
        job.take_part();
        std::unique_lock<std::mutex> hold(state_);
        job_ = nullptr;  // from here on nobody joins; wait for those in their last chunk
        left_.wait(hold, [&] { return job.num_helping.load(std::memory_order_acquire) == 0; });
        return true;
    }

  private:
    void start(int num_helpers) {
        for (; num_threads_ < num_helpers; num_threads_++) {
            // Signals are for the interpreter's main thread.
            sigset_t all, were;
            sigfillset(&all);
            pthread_sigmask(SIG_SETMASK, &all, &were);
            try {
                std::thread([this] { help(); }).detach();
            } catch (const std::system_error&) {
                // No more threads to be had: the caller does the work with those there are.
                pthread_sigmask(SIG_SETMASK, &were, nullptr);
                return;
            }
            pthread_sigmask(SIG_SETMASK, &were, nullptr);
        }
    }

    void help() {
        std::unique_lock<std::mutex> hold(state_);
        for (;;) {
            wake_.wait(hold, [&] { return job_ != nullptr && num_wanted_ > 0; });
            Job& job = *job_;
            num_wanted_--;
            job.num_helping.fetch_add(1, std::memory_order_relaxed);
            hold.unlock();
            job.take_part();
            hold.lock();
            if (job.num_helping.fetch_sub(1, std::memory_order_release) == 1) left_.notify_one();
        }
    }

    std::mutex turn_, state_;
    std::condition_variable wake_, left_;
    Job* job_ = nullptr;
    int num_wanted_ = 0;
    int num_threads_ = 0;
    Pool* before_;  // keeps the pool of the process that this one was forked from reachable
};

// Never destroyed: its threads wait in it until the process ends.
std::atomic<Pool*> the_pool{new Pool(nullptr)};

// A forked child has none of the threads, and the locks as they happened to be.
void renew_in_child() { the_pool.store(new Pool(the_pool.load())); }

const int registered = pthread_atfork(nullptr, nullptr, renew_in_child);

}  // namespace

void chirpid_parallel(int num_threads, int64_t num_chunks, ChirpidWork work, void* context) {
    Job job{work, context, num_chunks};
    const int64_t most = num_chunks - 1;
    const int num_helpers = static_cast<int>(num_threads - 1 < most ? num_threads - 1 : most);
    if (num_helpers < 1 || registered != 0 || !the_pool.load()->run(num_helpers, job))
        job.take_part();
}
