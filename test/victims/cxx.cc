// SPDX-License-Identifier: Apache-2.0
// Exceptions through probed functions, in several threads, as victims/hard.c has its ways.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <stdexcept>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

static std::atomic<uint64_t> *progress;
static std::atomic<bool> stop, wrong;
static volatile int sink;

extern "C" __attribute__((noinline, used)) long hard_add(long a, long b)
{
	sink = sink + 1;
	if (a % 3 == 0)
		throw std::runtime_error("three");
	return a + b;
}

extern "C" __attribute__((noinline, used)) const char *hard_text(const char *s)
{
	sink = sink + 1;
	if (s[0] == 'x')
		throw 7;
	return s + 1;
}

// Cleans up on the way of the exception, and calls what is probed meanwhile.
struct guard {
	long &n;
	~guard()
	{
		n += hard_add(1, 1);
	}
};

__attribute__((noinline)) static long deep(int depth, long i, long &cleaned)
{
	guard g{cleaned};

	return depth ? deep(depth - 1, i, cleaned) + 1 : hard_add(i, 1);
}

static void work()
{
	for (long i = 0; !stop; i++) {
		long cleaned = 0, caught = 0, got = 0;

		try {
			got = deep(5, i, cleaned);
		} catch (const std::runtime_error &) {
			caught++;
		}
		try {
			hard_text("xyz");
		} catch (int n) {
			caught += n;
		}
		if (cleaned != 12 || caught != (i % 3 == 0 ? 8 : 7) || (i % 3 && got != i + 6))
			wrong = true;
		++*progress;
		usleep(100);
	}
}

int main(int argc, char **argv)
{
	std::vector<std::thread> threads;
	void *p = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 9, 0);

	if (p == MAP_FAILED)
		return 2;
	progress = static_cast<std::atomic<uint64_t> *>(p);
	std::signal(SIGTERM, [](int) { stop = true; });
	alarm(argc > 2 ? 600 : 60);
	for (int i = 0; i < 4; i++)
		threads.emplace_back(work);
	for (auto &t : threads)
		t.join();
	return wrong;
}
