/*
 * samples.cpp - a std::vector in a pool, changed in transactions.
 *
 *	samples POOL add NUMBER...    append numbers, all or none
 *	samples POOL sort
 *	samples POOL clear            free the vector
 *	samples POOL print
 *	samples POOL report           distinct numbers and how often each occurs
 *
 * The series is an object in the pool with a vector as a member, whose elements are in the pool
 * too. An exception, here a word that is no number, leaves the scope of the transaction
 * and so undoes all of it, as a crash would. report counts in a std::map in a VOLATILE heap.
 */
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>

#include <pheap.hpp>

struct series {
	pheap::vector<std::int64_t> values;
	std::int64_t total = 0;
};

static void add(pheap::heap &heap, int n, char **numbers)
{
	auto &root = heap.root<series>();
	pheap::transaction tx(heap);
	series *all = root.get();

	if (!all) {
		all = tx.make<series>();
		tx.set(root, all);
	}
	tx.append_to(tx.modify(*all).values).reserve(all->values.size() + std::size_t(n));
	for (int i = 0; i < n; i++) {
		all->values.push_back(std::stoll(numbers[i]));
		all->total += all->values.back();
	}
	tx.commit();
}

static void sort(pheap::heap &heap, series &all)
{
	pheap::transaction tx(heap);

	tx.modify(all.values);
	std::sort(all.values.begin(), all.values.end());
	tx.commit();
}

static void clear(pheap::heap &heap)
{
	auto &root = heap.root<series>();
	pheap::transaction tx(heap);

	tx.destroy(root.get());
	tx.set<series>(root, nullptr);
	tx.commit();
}

static void report(const series &all)
{
	using entry = std::pair<const std::int64_t, std::uint64_t>;

	auto scratch = pheap::heap::make_volatile(std::uint64_t(64) << 20);
	std::map<std::int64_t, std::uint64_t, std::less<>, pheap::allocator<entry>> count{
		std::less<>(), scratch};

	for (std::int64_t value : all.values)
		count[value]++;
	for (const auto &[value, times] : count)
		std::printf("%" PRId64 " x %" PRIu64 "\n", value, times);
}

static void print(const series &all)
{
	for (std::int64_t value : all.values)
		std::printf("%" PRId64 "\n", value);
	std::printf("total %" PRId64 "\n", all.total);
}

static int run(const char *pool, const std::string &command, int n, char **operands)
{
	pheap::options how;

	how.layout = "samples";
	auto heap = pheap::heap::open_or_create(pool, how);
	auto &root = heap.root<series>();

	if (command == "add" && n > 0)
		add(heap, n, operands);
	else if (!root || n > 0)
		throw std::invalid_argument(root ? command : "nothing was added yet");
	else if (command == "sort")
		sort(heap, *root);
	else if (command == "clear")
		clear(heap);
	else if (command == "report")
		report(*root);
	else if (command == "print")
		print(*root);
	else
		throw std::invalid_argument(command);
	heap.close();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		std::fprintf(stderr,
			     "Usage: samples POOL add NUMBER... | sort | clear | print | report\n");
		return 2;
	}
	try {
		return run(argv[1], argv[2], argc - 3, argv + 3);
	} catch (const std::exception &error) {
		std::fprintf(stderr, "samples: %s\n", error.what());
		return 1;
	}
}
