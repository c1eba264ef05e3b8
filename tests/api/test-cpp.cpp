/*
 * test-cpp.cpp - pheap.hpp: ownership, transactions, references, containers, operator new,
 * on pools in files (POWER, forced) and on VOLATILE heaps; crashes by copying the file of an
 * open pool, and by kill -9.
 *
 * Each test is a function in the table at the end. A failed CHECK throws, so that it passes
 * through the destructors under test.
 */
#include <pheap.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>

using pheap::heap;
using pheap::ref;
using pheap::transaction;

namespace
{

struct failure : std::runtime_error {
	using std::runtime_error::runtime_error;
};

#define CHECK(condition)                                                           \
	do {                                                                       \
		if (!(condition))                                                  \
			throw failure(std::to_string(__LINE__) + ": " #condition); \
	} while (0)

/* That an expression throws a std::system_error with a code, and a message. */
#define CHECK_ERROR(wanted, expression)                               \
	do {                                                          \
		int code = 0;                                         \
		try {                                                 \
			expression;                                   \
		} catch (const std::system_error &error) {            \
			code = error.code().value();                  \
			CHECK(std::string(error.what()).size() > 10); \
		}                                                     \
		CHECK(code == (wanted));                              \
	} while (0)

std::string folder;

std::string path(const std::string &name)
{
	return folder + "/" + name;
}

pheap::options forced(std::uint64_t size = std::uint64_t(16) << 20)
{
	pheap::options how;

	how.size = size;
	how.durability = PHEAP_POWER;
	how.flags = PHEAP_FORCE_PMEM;
	return how;
}

heap make_pool(const std::string &name)
{
	unlink(path(name).c_str());
	return heap::create(path(name).c_str(), forced());
}

heap open_pool(const std::string &name)
{
	return heap::open(path(name).c_str(), forced());
}

/* The pool as a crash at this moment leaves it. */
heap crash_pool(const std::string &name)
{
	std::ifstream from(path(name), std::ios::binary);
	std::ofstream to(path(name) + ".crash", std::ios::binary | std::ios::trunc);

	to << from.rdbuf();
	to.close();
	return open_pool(name + ".crash");
}

std::uint64_t reserved(const heap &in)
{
	pheap_space space{};

	space.struct_size = sizeof(space);
	pheap::check(pheap_get_space(in.get(), &space));
	return space.reserved;
}

/* Published objects of a heap in which the checker finds nothing wrong. */
std::uint64_t published(const heap &in)
{
	pheap_check_result result{};

	result.struct_size = sizeof(result);
	pheap::check(pheap_check(in.get(), &result, nullptr, nullptr));
	CHECK(result.problems == 0);
	return result.objects;
}

struct node {
	ref<node> next;
	int value = 0;

	node() = default;
	node(node *behind, int number) : next(behind), value(number)
	{
	}
};

struct thrower {
	thrower()
	{
		throw std::runtime_error("no");
	}
};

/* Counts those that live. */
struct counted {
	static inline int live = 0;
	char bytes[100];

	counted()
	{
		live++;
	}
	~counted()
	{
		live--;
	}
};

/* ---- heaps, ownership ----------------------------------------------------------------- */

void heaps_close_themselves()
{
	{
		heap a = make_pool("p");
		heap b = std::move(a);

		CHECK(!a.get() && b.get());
		CHECK_ERROR(EBUSY, open_pool("p"));
		b.close();
		CHECK(!b.get());
		b = open_pool("p");
	}
	heap again = open_pool("p");
	pheap_info info{};

	info.struct_size = sizeof(info);
	pheap::check(pheap_get_info(again.get(), &info));
	CHECK(!info.recovered);
}

void errors_say_what()
{
	try {
		heap::open(path("nowhere").c_str());
		CHECK(false);
	} catch (const std::system_error &error) {
		CHECK(error.code() == std::errc::no_such_file_or_directory);
		CHECK(std::string(error.what()).find("nowhere") != std::string::npos);
	}
	heap made = make_pool("p");

	CHECK_ERROR(EBUSY, heap::create(path("p").c_str()));
	CHECK_ERROR(EINVAL, made.root<int>(""));
	CHECK_ERROR(EINVAL, heap::make_volatile(5));
	{
		transaction tx(made);

		CHECK_ERROR(EBUSY, made.close());
		CHECK(made.get());
	}
	made.close();
	CHECK_ERROR(EEXIST, heap::create(path("p").c_str()));
}

void what_is_not_published_is_given_back()
{
	heap pool = make_pool("p");

	{
		auto one = pheap::make<counted>(pool), two = pheap::make<counted>(pool);

		CHECK(counted::live == 2);
		CHECK(reserved(pool) >= 2 * sizeof(counted));
		one = std::move(two);
		CHECK(counted::live == 1);
	}
	CHECK(counted::live == 0);
	bool thrown = false;

	try {
		pheap::make<thrower>(pool);
	} catch (const std::runtime_error &) {
		thrown = true;
	}
	CHECK(thrown);
	CHECK(reserved(pool) == 0);
}

void publish_replace_retire()
{
	heap pool = make_pool("p");
	auto &root = pool.root<int>();
	auto one = pheap::make<int>(pool, 1), other = pheap::make<int>(pool, 2);

	CHECK(!root && root.get() == nullptr);
	pool.publish(root, std::move(one));
	CHECK(!one && root && *root == 1);
	CHECK_ERROR(EEXIST, pool.publish(root, std::move(other)));
	CHECK(other && *other == 2); /* it still has its owner */
	pool.replace(root, std::move(other));
	CHECK(*root == 2 && published(pool) == 1);
	pool.retire(root);
	CHECK(!root && published(pool) == 0 && reserved(pool) == 0);
	CHECK_ERROR(ENOENT, pool.retire(root));
}

/* ---- references -------------------------------------------------------------------------- */

void build_list(heap &pool, int n)
{
	auto &root = pool.root<node>();
	transaction tx(pool);
	node *first = nullptr;

	for (int i = n; i--;)
		first = tx.make<node>(first, i);
	tx.set(root, first);
	tx.commit();
}

int sum_of(const heap &pool)
{
	int sum = 0;

	for (node *n = pool.root<node>().get(); n; n = n->next.get())
		sum += n->value;
	return sum;
}

/* A pool and its copy, at different addresses in one process, in turns. */
void references_lead_into_their_own_heap()
{
	heap pool = make_pool("p");

	build_list(pool, 100);
	heap copy = crash_pool("p");
	node *a = pool.root<node>().get(), *b = copy.root<node>().get();

	CHECK(a != b);
	for (int i = 0; i < 99; i++, a = a->next.get(), b = b->next.get()) {
		CHECK(a->value == i && b->value == i);
		CHECK(pheap_heap_of(a) == pool.get() && pheap_heap_of(b) == copy.get());
	}
	CHECK(!a->next && !b->next);
	CHECK(sum_of(pool) == 4950 && sum_of(copy) == 4950);
	copy.root<node>()->value = 1000;
	CHECK(sum_of(pool) == 4950 && sum_of(copy) == 5950);
}

void references_survive_a_move_of_the_pool()
{
	{
		heap pool = make_pool("p");

		build_list(pool, 100);
		CHECK(sum_of(pool) == 4950);
	}
	/* Something else where it was, so that it is mapped elsewhere. */
	std::vector<heap> others;

	for (int i = 0; i < 3; i++)
		others.push_back(make_pool("other" + std::to_string(i)));
	heap pool = open_pool("p");

	CHECK(sum_of(pool) == 4950);
	/* The same address, another heap: what was looked up before is not used. */
	for (int i = 0; i < 10; i++) {
		heap other = heap::make_volatile(std::uint64_t(8 + 8 * i) << 20);

		build_list(other, 10 + i);
		CHECK(sum_of(other) == (10 + i) * (9 + i) / 2);
	}
}

void references_outside_a_heap_are_refused()
{
	heap pool = make_pool("p");
	auto object = pheap::make<int>(pool, 1);
	ref<int> outside;
	auto holder = pheap::make<ref<int>>(pool);

	CHECK(!outside.get()); /* null is null anywhere */
	CHECK_ERROR(EINVAL, outside.store(object.get()));
	*outside.slot() = 4096;
	CHECK_ERROR(EINVAL, outside.get());
	int on_stack = 1;

	CHECK_ERROR(EINVAL, holder->store(&on_stack));
	holder->store(object.get());
	CHECK(**holder == 1 && *holder == object.get());
	*holder->slot() = std::uint64_t(1) << 50; /* damaged media */
	CHECK_ERROR(EINVAL, holder->get());
	errno = 0;
	CHECK(!pheap_heap_of(&on_stack) && errno == EINVAL);
	CHECK(!pheap_heap_of(nullptr));
}

void many_heaps()
{
	std::vector<heap> heaps;

	for (int i = 0; i < 100; i++) {
		heaps.push_back(heap::make_volatile(std::uint64_t(8) << 20));
		build_list(heaps.back(), i);
	}
	for (int i = 0; i < 100; i++)
		CHECK(sum_of(heaps[std::size_t(i)]) == i * (i - 1) / 2);
	heaps.erase(heaps.begin() + 10, heaps.begin() + 50);
	for (auto &one : heaps)
		CHECK(pheap_heap_of(one.root<node>().slot()) == one.get());
}

void references_in_threads()
{
	heap pool = make_pool("p");

	build_list(pool, 100);
	std::vector<std::thread> threads;
	std::vector<int> wrong(4);

	for (int &count : wrong) {
		threads.emplace_back([&] {
			for (int i = 0; i < 300; i++)
				count += sum_of(pool) != 4950;
		});
	}
	for (int i = 0; i < 30; i++) {
		heap other = heap::make_volatile(std::uint64_t(8) << 20);

		build_list(other, 10);
		CHECK(sum_of(other) == 45);
	}
	for (auto &thread : threads)
		thread.join();
	CHECK(std::accumulate(wrong.begin(), wrong.end(), 0) == 0);
}

/* ---- transactions ------------------------------------------------------------------------------
 */

void a_transaction_ends_with_its_scope()
{
	heap pool = make_pool("p");
	auto &root = pool.root<node>();

	build_list(pool, 3);
	{
		transaction tx(pool);

		CHECK(transaction::current() == &tx);
		tx.modify(*root).value = 7;
		tx.set(root, tx.make<node>(root.get(), 9));
		CHECK(root->value == 7);
	}
	CHECK(!transaction::current());
	CHECK(root->value == 0 && sum_of(pool) == 3 && published(pool) == 3);
	try {
		transaction tx(pool);

		tx.modify(*root).value = 8;
		throw std::runtime_error("changed my mind");
	} catch (const std::runtime_error &) {
	}
	CHECK(root->value == 0 && reserved(pool) == 0);
	{
		transaction tx(pool);

		tx.modify(*root).value = 7;
		tx.commit();
		CHECK(!transaction::current());
		CHECK_ERROR(EINVAL, tx.modify(*root)); /* it is over */
		CHECK_ERROR(EINVAL, tx.make<node>());
	}
	CHECK(root->value == 7);
	CHECK(crash_pool("p").root<node>()->value == 7);
}

void what_a_transaction_does()
{
	struct numbers {
		std::uint64_t word, pair[2];
	};
	heap pool = make_pool("p");
	auto &root = pool.root<numbers>();
	{
		transaction tx(pool);

		tx.set(root, tx.make<numbers>(numbers{1, {2, 3}}));
		tx.commit();
	}
	{
		transaction tx(pool);
		const std::uint64_t pair[2] = {5, 6};

		tx.set(root->word, 4);
		tx.write(root->pair, pair);
		CHECK(root->word == 1 && root->pair[0] == 2); /* until the commit */
		tx.commit();
	}
	CHECK(root->word == 4 && root->pair[0] == 5 && root->pair[1] == 6);
	{
		transaction tx(pool);

		tx.retire(root);
		tx.abort();
	}
	CHECK(root && published(pool) == 1);
	{
		transaction tx(pool);

		tx.retire(root);
		tx.commit();
	}
	CHECK(!root && published(pool) == 0);
	{
		transaction tx(pool);
		bool thrown = false;

		try {
			tx.make<thrower>();
		} catch (const std::runtime_error &) {
			thrown = true;
		}
		CHECK(thrown);
		tx.commit();
	}
	CHECK(published(pool) == 0 && reserved(pool) == 0);
}

void transactions_within_each_other()
{
	heap a = make_pool("a"), b = make_pool("b");

	{
		transaction outer(a);
		{
			transaction inner(b);

			CHECK(transaction::current() == &inner);
			CHECK(transaction::current_for(a.root<int>().slot()) == &outer);
			CHECK(transaction::current_for(b.root<int>().slot()) == &inner);
			inner.set(b.root<int>(), inner.make<int>(2));
			CHECK_ERROR(EINVAL, inner.set(b.root<int>(), outer.make<int>(1)));
			inner.commit();
		}
		CHECK(transaction::current() == &outer);
		outer.set(a.root<int>(), outer.make<int>(1));
		outer.commit();
	}
	CHECK(*a.root<int>() == 1 && *b.root<int>() == 2);
}

/* ---- vectors in a pool
 * ---------------------------------------------------------------------------- */

struct series {
	pheap::vector<int> values;
	pheap::vector<pheap::vector<int>> rows;
};

series &make_series(heap &pool, int n)
{
	auto &root = pool.root<series>();
	transaction tx(pool);
	series *made = tx.make<series>();

	for (int i = 0; i < n; i++)
		made->values.push_back(i);
	tx.set(root, made);
	tx.commit();
	return *root;
}

bool counts_to(const pheap::vector<int> &v, int n)
{
	if (v.size() != std::size_t(n))
		return false;
	for (int i = 0; i < n; i++)
		if (v[std::size_t(i)] != i)
			return false;
	return true;
}

void a_vector_is_committed_or_not()
{
	heap pool = make_pool("p");
	series &all = make_series(pool, 1000);

	CHECK(counts_to(all.values, 1000) && published(pool) == 2);
	try {
		transaction tx(pool);

		tx.modify(all.values);
		for (int i = 0; i < 5000; i++)
			all.values.push_back(-i);
		std::sort(all.values.begin(), all.values.end());
		all.values.erase(all.values.begin(), all.values.begin() + 10);
		CHECK(all.values.size() == 5990);
		heap copy = crash_pool("p"); /* in the middle of it */

		CHECK(counts_to(copy.root<series>()->values, 1000));
		CHECK(published(copy) == 2);
		throw std::runtime_error("undo");
	} catch (const std::runtime_error &error) {
		CHECK(std::string(error.what()) == "undo");
	}
	CHECK(counts_to(all.values, 1000) && published(pool) == 2 && reserved(pool) == 0);
	{
		transaction tx(pool);

		tx.modify(all.values);
		std::reverse(all.values.begin(), all.values.end());
		all.values.insert(all.values.begin(), 3, 1000);
		tx.commit();
	}
	CHECK(published(pool) == 2);
	heap copy = crash_pool("p");
	const auto &values = copy.root<series>()->values;

	CHECK(values.size() == 1003 && values[2] == 1000 && values[3] == 999 && values.back() == 0);
	/* And work goes on. */
	{
		transaction tx(copy);
		auto &v = tx.modify(copy.root<series>()->values);

		v.clear();
		v.shrink_to_fit();
		tx.commit();
	}
	CHECK(published(copy) == 1);
}

void appending_saves_only_what_is_free()
{
	heap pool = make_pool("p");
	series &all = make_series(pool, 0);

	for (int i = 0; i < 300; i++) {
		transaction tx(pool);

		tx.append_to(all.values).push_back(i);
		if (i % 3 == 0) { /* once more, after it was undone */
			tx.abort();
			transaction again(pool);

			again.append_to(all.values).push_back(i);
			again.commit();
		} else {
			tx.commit();
		}
		if (i % 50 == 0)
			CHECK(counts_to(crash_pool("p").root<series>()->values, i + 1));
	}
	CHECK(counts_to(all.values, 300));
	CHECK(published(pool) == 2);
	pool.close();
	pool = open_pool("p");
	CHECK(counts_to(pool.root<series>()->values, 300));
}

void vectors_of_vectors()
{
	heap pool = make_pool("p");
	series &all = make_series(pool, 10);

	{
		transaction tx(pool);

		tx.modify(all);
		for (int i = 0; i < 50; i++)
			all.rows.emplace_back(std::size_t(i), i);
		all.rows.push_back(all.values);
		tx.commit();
	}
	CHECK(published(pool) == 2 + 1 + 49 + 1);
	heap copy = crash_pool("p");
	series &other = *copy.root<series>();

	for (int i = 0; i < 50; i++)
		CHECK(other.rows[std::size_t(i)].size() == std::size_t(i) &&
		      (i == 0 || other.rows[std::size_t(i)].back() == i));
	CHECK(other.rows.back() == other.values);
	/* All of it goes with the object, or none of it. */
	auto &root = copy.root<series>();
	{
		transaction tx(copy);

		tx.modify(root->rows); /* the destructor of a row changes the row */
		tx.destroy(root.get());
		tx.set<series>(root, nullptr);
	}
	CHECK(counts_to(root->values, 10) && root->rows[49].back() == 49);
	CHECK(published(copy) == 53);
	{
		transaction tx(copy);

		tx.modify(root->rows);
		tx.destroy(root.get());
		tx.set<series>(root, nullptr);
		tx.commit();
	}
	CHECK(published(copy) == 0 && reserved(copy) == 0);
}

void vectors_need_a_transaction()
{
	heap pool = make_pool("p"), other = make_pool("other");
	series &all = make_series(pool, 4), &its = make_series(other, 4);

	CHECK_ERROR(EINVAL, all.values.reserve(1000));
	CHECK(counts_to(all.values, 4));
	{
		transaction tx(other);

		CHECK_ERROR(EINVAL, all.values.reserve(1000)); /* of another heap */
	}
	{
		transaction a(pool), b(other); /* each finds its own */

		a.modify(all.values).reserve(1000);
		b.modify(its.values).reserve(1000);
		CHECK(pheap_heap_of(all.values.data()) == pool.get());
		CHECK(pheap_heap_of(its.values.data()) == other.get());
		b.commit();
		a.commit();
	}
	CHECK(published(pool) == 2 && published(other) == 2);
}

void no_room_for_a_vector()
{
	heap pool = make_pool("p");
	series &all = make_series(pool, 100);

	for (std::size_t n : {std::size_t(1) << 28, std::size_t(1) << 40}) {
		bool thrown = false;
		transaction tx(pool);

		try {
			tx.modify(all.values).resize(n);
		} catch (const pheap::bad_alloc &error) {
			thrown = std::string(error.what()).size() > 10 &&
				 error.code() == std::errc::no_space_on_device;
		}
		CHECK(thrown);
	}
	CHECK(counts_to(all.values, 100) && reserved(pool) == 0 && published(pool) == 2);
}

/* ---- kill -9
 * ----------------------------------------------------------------------------------------- */

/* Two vectors with the same elements, appended to until the process is killed. */
struct twins {
	pheap::vector<int> a, b;
};

void append_both(transaction &tx, twins &both, int i)
{
	tx.append_to(both.a).push_back(i);
	tx.append_to(both.b).push_back(i);
}

[[noreturn]] void append_forever(int ready)
{
	heap pool = open_pool("p");
	twins &both = *pool.root<twins>();

	for (int i = int(both.a.size());; i++) {
		if (i % 7 == 0) { /* undone before it is done */
			transaction tx(pool);

			append_both(tx, both, -i);
		}
		transaction tx(pool);

		append_both(tx, both, i);
		tx.commit();
		if (write(ready, "", 1) != 1)
			_exit(1);
	}
}

void a_kill_in_the_middle()
{
	{
		heap pool = make_pool("p");
		transaction tx(pool);

		tx.set(pool.root<twins>(), tx.make<twins>());
		tx.commit();
	}
	std::size_t before = 0;

	for (int round = 0; round < 8; round++) {
		int pipes[2];
		char buffer[64];

		CHECK(!pipe(pipes));
		pid_t child = fork();

		if (!child) {
			close(pipes[0]);
			append_forever(pipes[1]);
		}
		close(pipes[1]);
		for (int n = 0; n < 50 + 13 * round;) {
			ssize_t got = read(pipes[0], buffer, sizeof(buffer));

			CHECK(got > 0);
			n += int(got);
		}
		kill(child, SIGKILL);
		int status;

		CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
		close(pipes[0]);
		heap pool = open_pool("p");
		twins &both = *pool.root<twins>();

		CHECK(both.a == both.b && counts_to(both.a, int(both.a.size())));
		CHECK(both.a.size() >= before + 50);
		CHECK(published(pool) == 3);
		before = both.a.size();
	}
}

/* ---- containers in DRAM
 * -------------------------------------------------------------------------------- */

template <class K, class V>
using heap_map = std::map<K, V, std::less<K>, pheap::allocator<std::pair<const K, V>>>;
using heap_string = std::basic_string<char, std::char_traits<char>, pheap::allocator<char>>;

void containers_in_a_volatile_heap()
{
	heap memory = heap::make_volatile(std::uint64_t(64) << 20);

	{
		std::vector<int, pheap::allocator<int>> v(memory);
		heap_map<int, double> m{std::less<int>(), memory};
		std::list<int, pheap::allocator<int>> l(memory);
		std::unordered_map<int, int, std::hash<int>, std::equal_to<int>,
				   pheap::allocator<std::pair<const int, int>>>
			u(16, std::hash<int>(), std::equal_to<int>(), memory);
		heap_string s("a string that is too long for the object itself",
			      pheap::allocator<char>(memory));

		for (int i = 0; i < 10000; i++) {
			v.push_back(i);
			m[i] = i / 2.0;
			l.push_front(i);
			u[i] = -i;
			s += 'x';
		}
		CHECK(pheap_heap_of(v.data()) == memory.get());
		CHECK(pheap_heap_of(&m[5]) == memory.get());
		CHECK(pheap_heap_of(s.data()) == memory.get());
		CHECK(reserved(memory) > 10000 * (4 + 40 + 24 + 16));
		for (int i = 0; i < 10000; i += 2)
			m.erase(i), u.erase(i);
		CHECK(std::accumulate(v.begin(), v.end(), 0) == 49995000);
		CHECK(m.size() == 5000 && m.at(9999) == 4999.5 && u.at(77) == -77);
		CHECK(l.back() == 0 && s.size() == 10047);
		auto copy = m;

		CHECK(copy == m);
	}
	CHECK(reserved(memory) == 0);
}

void containers_of_two_heaps()
{
	heap a = heap::make_volatile(std::uint64_t(16) << 20);
	heap b = heap::make_volatile(std::uint64_t(16) << 20);
	using numbers = std::vector<int, pheap::allocator<int>>;

	{
		numbers v(1000, 1, pheap::allocator<int>(a)), w(1000, 2, pheap::allocator<int>(b));

		CHECK(v.get_allocator() != w.get_allocator());
		std::swap(v, w);
		CHECK(v[0] == 2 && pheap_heap_of(v.data()) == b.get());
		v = w; /* the allocator comes along */
		CHECK(v == w && pheap_heap_of(v.data()) == a.get());
		w = numbers(10, 3, pheap::allocator<int>(b));
		CHECK(pheap_heap_of(w.data()) == b.get());
	}
	CHECK(reserved(a) == 0 && reserved(b) == 0);
}

void a_full_heap_throws_bad_alloc()
{
	heap memory = heap::make_volatile(std::uint64_t(8) << 20);
	std::vector<std::string, pheap::allocator<std::string>> v(memory);
	bool thrown = false;

	try {
		for (;;)
			v.emplace_back("x");
	} catch (const std::bad_alloc &error) {
		thrown = std::string(error.what()).size() > 10;
	}
	CHECK(thrown && v.size() > 10000 && v.back() == "x");
	thrown = false;
	try {
		pheap::allocator<int>(memory).allocate(SIZE_MAX / 2);
	} catch (const std::bad_array_new_length &) {
		thrown = true;
	}
	CHECK(thrown);
}

/* ---- relative pointers
 * ---------------------------------------------------------------------------------- */

void relative_pointers_are_pointers()
{
	int numbers[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	pheap::relative_ptr<int> p(numbers), q = p + 5, null;
	std::unique_ptr<pheap::relative_ptr<int>> elsewhere(new pheap::relative_ptr<int>(q));

	CHECK(*p == 0 && *q == 5 && q - p == 5 && p[3] == 3 && *elsewhere == q);
	CHECK(p < q && q > p && p <= p && q >= p && p != q);
	CHECK(!null && null == nullptr && nullptr != p && null == pheap::relative_ptr<int>());
	CHECK(*p++ == 0 && *p == 1 && *++p == 2 && *p-- == 2 && *--p == 0);
	p += 4;
	CHECK(*p == 4 && *(p -= 2) == 2 && *(1 + p) == 3);
	pheap::relative_ptr<const int> c = p;
	pheap::relative_ptr<void> v = p;

	CHECK(*c == 2 && static_cast<pheap::relative_ptr<int>>(v) == p);
	p = q;
	CHECK(*p == 5);
	p = nullptr;
	CHECK(!p && std::accumulate(q - 5, q + 5, 0) == 45);
	CHECK(std::pointer_traits<pheap::relative_ptr<int>>::pointer_to(numbers[7]) == q + 2);
	pheap::relative_ptr<pheap::relative_ptr<int>> self;

	self = pheap::relative_ptr<pheap::relative_ptr<int>>(&q);
	CHECK(**self == 5);
}

/* ---- operator new
 * ----------------------------------------------------------------------------------------- */

struct plain : pheap::in_heap {
	std::uint64_t number;

	explicit plain(std::uint64_t n) : number(n)
	{
		if (n == 13)
			throw std::runtime_error("unlucky");
	}
};

struct alignas(64) wide : pheap::in_heap {
	char bytes[192];
};

struct leaf {
	explicit leaf(int with) : value(with)
	{
	}
	ref<leaf> next;
	int value;
	pheap_ref other = 0;
};

void objects_have_types()
{
	heap h = make_pool("types");
	pheap::type<leaf> leaves(h, "leaf", 2, &leaf::next, &leaf::other);
	pheap_type_info info{};
	int sum = 0;

	info.struct_size = sizeof(info);
	CHECK(!pheap_type_get_info(leaves.get(), &info));
	CHECK(info.nrefs == 2 && info.refs[0] == 0 && info.refs[1] == 16 && info.version == 2);
	CHECK(pheap::type<leaf>(h, "leaf", 2, &leaf::next, &leaf::other).get() == leaves.get());
	CHECK_ERROR(EINVAL, pheap::type<leaf>(h, "leaf", 2, &leaf::next));
	CHECK_ERROR(EINVAL, pheap::type<leaf>(h, "leaf", 3, &leaf::next, &leaf::other));

	h.publish(h.root<leaf>("a"), leaves.make(5));
	CHECK(pheap_type_of(h.get(), h.root<leaf>("a").get()) == leaves.get());
	{
		auto not_published = leaves.make(100);
		transaction tx(h);
		leaf *made = leaves.make_in(tx, 7);

		tx.set(h.root<leaf>("b"), made);
		tx.commit();
	}
	leaves.for_each([&](leaf &l) { sum += l.value; });
	CHECK(sum == 12);
}

void references_are_counted()
{
	heap h = make_pool("types");
	pheap::type<leaf> leaves(pheap::type<leaf>::flags{PHEAP_TYPE_COUNTED}, h, "leaf", 1,
				 &leaf::next);
	std::uint64_t strong = 0, weak = 0;
	int n = 0;

	h.publish(h.root<leaf>("a"), leaves.make(5));
	h.link(h.root<leaf>("b"), h.root<leaf>("a").get());
	h.weak_link(h.root<leaf>("w"), h.root<leaf>("a").get());
	CHECK(!pheap_counts(h.get(), h.root<leaf>("a").get(), &strong, &weak));
	CHECK(strong == 2 && weak == 1);
	CHECK(h.weak_get(h.root<leaf>("w"), h.root<leaf>("c")));
	{
		transaction tx(h);
		leaf *made = leaves.make_in(tx, 6);

		tx.link(made->next, h.root<leaf>("a").get());
		tx.link(h.root<leaf>("d"), made);
		tx.commit();
	}
	CHECK(!pheap_counts(h.get(), h.root<leaf>("a").get(), &strong, &weak));
	CHECK(strong == 4);
	for (const char *name : {"a", "b", "c"})
		h.retire(h.root<leaf>(name));
	h.link<leaf>(h.root<leaf>("d"), nullptr);
	CHECK(!h.weak_get(h.root<leaf>("w"), h.root<leaf>("c")));
	h.weak_link<leaf>(h.root<leaf>("w"), nullptr);
	leaves.for_each([&](leaf &) { n++; });
	CHECK(n == 0);
}

void operator_new_takes_a_heap()
{
	heap pool = make_pool("p");

	{
		plain *object = new (pool) plain(5);
		wide *aligned = new (pool) wide;

		CHECK(pheap_heap_of(object) == pool.get() && object->number == 5);
		CHECK(reinterpret_cast<std::uintptr_t>(aligned) % 64 == 0);
		delete object;
		delete aligned;
		delete static_cast<plain *>(nullptr);
	}
	CHECK(reserved(pool) == 0);
	bool thrown = false;

	try {
		new (pool) plain(13);
	} catch (const std::runtime_error &) {
		thrown = true;
	}
	CHECK(thrown && reserved(pool) == 0);
	std::unique_ptr<plain> owner(new (pool) plain(6));

	CHECK(reserved(pool) > 0);
	owner.reset();
	CHECK(reserved(pool) == 0);
}

void operator_new_takes_a_transaction()
{
	heap pool = make_pool("p");
	auto &root = pool.root<plain>();

	{
		transaction tx(pool);
		bool thrown = false;

		tx.set(root, new (tx) plain(5));
		CHECK(reinterpret_cast<std::uintptr_t>(new (tx) wide) % 64 == 0);
		try {
			new (tx) plain(13);
		} catch (const std::runtime_error &) {
			thrown = true;
		}
		CHECK(thrown);
		delete new (tx) plain(6);
		tx.commit();
	}
	CHECK(root->number == 5 && published(pool) == 2);
	{
		transaction tx(pool);

		delete root.get();
		tx.set<plain>(root, nullptr);
	}
	CHECK(root->number == 5 && published(pool) == 2);
	{
		transaction tx(pool);

		delete root.get();
		tx.set<plain>(root, nullptr);
		tx.commit();
	}
	CHECK(!root && published(pool) == 1);
}

/* ---- */

const struct {
	const char *name;
	void (*run)();
} tests[] = {
#define TEST(name)          \
	{                   \
#name, name \
	}
	TEST(heaps_close_themselves),
	TEST(errors_say_what),
	TEST(what_is_not_published_is_given_back),
	TEST(publish_replace_retire),
	TEST(references_lead_into_their_own_heap),
	TEST(references_survive_a_move_of_the_pool),
	TEST(references_outside_a_heap_are_refused),
	TEST(many_heaps),
	TEST(references_in_threads),
	TEST(a_transaction_ends_with_its_scope),
	TEST(what_a_transaction_does),
	TEST(transactions_within_each_other),
	TEST(a_vector_is_committed_or_not),
	TEST(appending_saves_only_what_is_free),
	TEST(vectors_of_vectors),
	TEST(vectors_need_a_transaction),
	TEST(no_room_for_a_vector),
	TEST(a_kill_in_the_middle),
	TEST(containers_in_a_volatile_heap),
	TEST(containers_of_two_heaps),
	TEST(a_full_heap_throws_bad_alloc),
	TEST(relative_pointers_are_pointers),
	TEST(objects_have_types),
	TEST(references_are_counted),
	TEST(operator_new_takes_a_heap),
	TEST(operator_new_takes_a_transaction),
};

} // namespace

int main()
{
	std::string made =
		access("/dev/shm", W_OK) ? "/tmp/pheap-test-XXXXXX" : "/dev/shm/pheap-test-XXXXXX";
	int failed = 0;

	if (!mkdtemp(made.data())) {
		std::perror(made.c_str());
		return 1;
	}
	folder = made;
	for (const auto &test : tests) {
		try {
			test.run();
			std::printf("ok %s\n", test.name);
		} catch (const std::exception &error) {
			std::printf("not ok %s: %s\n", test.name, error.what());
			failed++;
		}
		std::fflush(stdout);
	}
	for (const char *name :
	     {"p", "p.crash", "a", "b", "other", "other0", "other1", "other2", "types"})
		unlink(path(name).c_str());
	rmdir(folder.c_str());
	return failed ? 1 : 0;
}
