/*
 * pheap.hpp - the heap for C++17: ownership, transactions, references, containers.
 *
 *	pheap::heap heap = pheap::heap::open_or_create("list.pool");
 *	auto &first = heap.root<node>();
 *	pheap::transaction tx(heap);
 *	tx.set(first, tx.make<node>(first.get(), 42));
 *	tx.commit();
 *
 * All of it is inline, over the functions of pheap.h: what they promise about crashes,
 * fences and threads holds here, and is not said again.
 *
 * ERRORS are thrown as std::system_error, with the errno value and the library's message;
 * by operator new and by allocators as pheap::bad_alloc, which is a std::bad_alloc.
 *
 * THREE KINDS OF REFERENCE
 *   T *          In memory. A mapped pool never moves, so plain pointers are good until the
 *                heap is closed, and are what functions here take and give.
 *   ref<T>       On media, relative to the heap: a slot, as all of the library knows it.
 *                It is resolved by its own address, which tells the heap that it lies in, so
 *                it cannot be copied out of it, and two pools, or two copies of one pool, may
 *                be open at once.
 *   relative_ptr<T>  On media, relative to itself: for the inside of containers. They copy
 *                their pointers to local variables, where a ref<T> would not know its heap;
 *                one that counts from its own address works anywhere, in one addition. It
 *                is not what a slot holds, and the library does not see it.
 */
#ifndef PHEAP_HPP
#define PHEAP_HPP

#include <pheap.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace pheap
{

/* ---- errors --------------------------------------------------------------------------- */

/* Throw what a function of pheap.h reported: a negative code, or errno. */
[[noreturn]] inline void fail(int negative)
{
	throw std::system_error(-negative, std::generic_category(), pheap_errormsg());
}

inline void check(int rc)
{
	if (rc)
		fail(rc);
}

template <class T> T *check(T *made)
{
	if (!made)
		fail(-errno);
	return made;
}

/* No memory: what() is the library's message, code() the reason. */
class bad_alloc : public std::bad_alloc
{
      public:
	bad_alloc() : error_(errno, std::generic_category(), pheap_errormsg())
	{
	}
	const char *what() const noexcept override
	{
		return error_.what();
	}
	const std::error_code &code() const noexcept
	{
		return error_.code();
	}

      private:
	std::system_error error_;
};

/* ---- where references lead --------------------------------------------------------------- */

namespace detail
{

/* The heap that this thread looked up last; true as long as *changed == seen. */
struct place {
	std::uintptr_t base;
	std::uint64_t size;
	pheap_t *heap;
	const std::uint64_t *changed;
	std::uint64_t seen;
};

inline constexpr std::uint64_t never = 0;
inline thread_local place last{0, 0, nullptr, &never, 1};

inline bool is_in_last(const void *address) noexcept
{
	return reinterpret_cast<std::uintptr_t>(address) - last.base < last.size &&
	       __atomic_load_n(last.changed, __ATOMIC_ACQUIRE) == last.seen;
}

/* Where the heap is in which address lies; NULL and errno where it lies in none. */
inline const place *find_slowly(const void *address)
{
	const std::uint64_t *changed = pheap_heaps_changed();
	std::uint64_t seen = __atomic_load_n(changed, __ATOMIC_ACQUIRE);
	pheap_t *heap = pheap_heap_of(address);

	if (!heap)
		return nullptr;
	const auto *view = reinterpret_cast<const pheap_view *>(heap);
	last = {reinterpret_cast<std::uintptr_t>(view->base), view->size, heap, changed, seen};
	return &last;
}

inline const place *find(const void *address)
{
	return is_in_last(address) ? &last : find_slowly(address);
}

} // namespace detail

/*
 * A reference on media: 8 bytes, 0 is null, the same as a pheap_ref or a PHEAP_REF. It lies
 * in a root or in an object of a heap, and leads to an object of the same heap. Reading is
 * one aligned load with acquire, and some comparisons. Every member throws EINVAL for
 * a ref outside any open heap, and for one that leads out of its heap.
 */
template <class T> class ref
{
      public:
	/* Null. */
	ref() noexcept = default;

	/* In an object that is being made in a heap: to an object of that heap. */
	explicit ref(T *object)
	{
		store(object);
	}

	ref(const ref &) = delete;
	ref &operator=(const ref &) = delete;

	T *get() const
	{
		pheap_ref offset = __atomic_load_n(&offset_, __ATOMIC_ACQUIRE);

		if (!offset)
			return nullptr;
		const detail::place *place = check(detail::find(this));
		if (offset >= place->size) {
			pheap_ptr_error(place->heap, offset);
			fail(-EINVAL);
		}
		return reinterpret_cast<T *>(place->base + offset);
	}

	T *operator->() const
	{
		return get();
	}
	T &operator*() const
	{
		return *get();
	}
	explicit operator bool() const noexcept
	{
		return __atomic_load_n(&offset_, __ATOMIC_ACQUIRE) != 0;
	}

	/*
	 * A plain store: right in an object that is reserved, that a transaction made, or
	 * that it has snapshotted (transaction::modify). Elsewhere use transaction::set, or
	 * heap::publish and its like.
	 */
	void store(T *object)
	{
		pheap_ref offset = 0;

		if (object) {
			offset = pheap_ref_of(check(detail::find(this))->heap, object);
			if (!offset)
				fail(-errno);
		}
		__atomic_store_n(&offset_, offset, __ATOMIC_RELEASE);
	}

	/* Start loading the object into the cache. */
	void prefetch() const
	{
		pheap_prefetch(check(detail::find(this))->heap, offset(), sizeof(T));
	}

	/* For functions of pheap.h. */
	pheap_ref *slot() noexcept
	{
		return &offset_;
	}
	pheap_ref offset() const noexcept
	{
		return __atomic_load_n(&offset_, __ATOMIC_ACQUIRE);
	}

	friend bool operator==(const ref &a, const ref &b)
	{
		return a.get() == b.get();
	}
	friend bool operator!=(const ref &a, const ref &b)
	{
		return a.get() != b.get();
	}
	friend bool operator==(const ref &a, const T *b)
	{
		return a.get() == b;
	}
	friend bool operator!=(const ref &a, const T *b)
	{
		return a.get() != b;
	}

      private:
	pheap_ref offset_ = PHEAP_NULL;
};
static_assert(sizeof(ref<int>) == sizeof(pheap_ref) && std::is_standard_layout_v<ref<int>>);

/* ---- heaps ---------------------------------------------------------------------------------- */

struct options {
	std::uint64_t size = 0; /* bytes; 0: 64 MiB */
	const char *layout = nullptr;
	unsigned durability = PHEAP_DURABILITY_DEFAULT;
	unsigned flags = 0;
	unsigned mode = 0;
};

/* Ends and gives back what make() reserved. */
template <class T> struct reserved_delete {
	pheap_t *heap = nullptr;

	void operator()(T *object) const noexcept
	{
		object->~T();
		pheap_free(heap, object);
	}
};

/* An object that is reserved: private, and gone with its owner unless it is published. */
template <class T> using owned = std::unique_ptr<T, reserved_delete<T>>;

/*
 * An open heap, and its owner. The destructor closes it and tells nobody of errors: a pool
 * that could not be closed is recovered when it is opened again. Functions that change one
 * slot are those of pheap/publish.h.
 */
class heap
{
      public:
	static heap create(const char *path, const options &how = {})
	{
		const pheap_options opts = convert(how);

		return heap(check(pheap_create(path, &opts)));
	}

	static heap open(const char *path, const options &how = {})
	{
		const pheap_options opts = convert(how);

		return heap(check(pheap_open(path, &opts)));
	}

	static heap open_or_create(const char *path, const options &how = {})
	{
		const pheap_options opts = convert(how);
		pheap_t *made = pheap_create(path, &opts);

		return made || errno != EEXIST ? heap(check(made)) : open(path, how);
	}

	/* In anonymous memory. */
	static heap make_volatile(std::uint64_t size)
	{
		options how;

		how.size = size;
		how.durability = PHEAP_VOLATILE;
		return create(nullptr, how);
	}

	/* Take over an open heap. */
	explicit heap(pheap_t *open) noexcept : heap_(open)
	{
	}

	heap(heap &&other) noexcept : heap_(std::exchange(other.heap_, nullptr))
	{
	}
	heap &operator=(heap &&other) noexcept
	{
		if (this != &other) {
			pheap_close(heap_);
			heap_ = std::exchange(other.heap_, nullptr);
		}
		return *this;
	}
	~heap()
	{
		pheap_close(heap_);
	}

	/* Close it, and say what went wrong. After EBUSY (an open transaction) it is open. */
	void close()
	{
		int rc = pheap_close(heap_);

		if (!rc || rc == -EIO)
			heap_ = nullptr;
		check(rc);
	}

	pheap_t *get() const noexcept
	{
		return heap_;
	}

	/* A root: the unnamed one, or the one of that name, which is made if need be. */
	template <class T> ref<T> &root() const
	{
		return *reinterpret_cast<ref<T> *>(pheap_root(heap_));
	}
	template <class T> ref<T> &root(const char *name) const
	{
		return *reinterpret_cast<ref<T> *>(check(pheap_named_root(heap_, name)));
	}

	/* After an error the object still belongs to its owner. */
	template <class T> void publish(ref<T> &slot, owned<T> &&object, unsigned flags = 0) const
	{
		check(pheap_publish(heap_, slot.slot(), object.get(), flags));
		object.release();
	}

	/* The old object's destructor is not called, so it has to be one that does nothing. */
	template <class T> void replace(ref<T> &slot, owned<T> &&object, unsigned flags = 0) const
	{
		static_assert(std::is_trivially_destructible_v<T>,
			      "use transaction::destroy() and transaction::set()");
		check(pheap_replace(heap_, slot.slot(), object.get(), flags));
		object.release();
	}
	template <class T> void retire(ref<T> &slot) const
	{
		static_assert(std::is_trivially_destructible_v<T>, "use transaction::destroy()");
		check(pheap_retire(heap_, slot.slot()));
	}

	/* Counted references (pheap/count.h). */
	template <class T> void link(ref<T> &slot, const T *object) const
	{
		check(pheap_link(heap_, slot.slot(), pheap_ref_of(heap_, object)));
	}
	template <class T> void weak_link(ref<T> &slot, const T *object) const
	{
		check(pheap_weak_link(heap_, slot.slot(), pheap_ref_of(heap_, object)));
	}
	/* False: the object is dead, or there is none. */
	template <class T> bool weak_get(ref<T> &weak, ref<T> &slot) const
	{
		int rc = pheap_weak_get(heap_, weak.slot(), slot.slot());

		if (rc != -ENOENT)
			check(rc);
		return !rc;
	}

      private:
	static pheap_options convert(const options &how) noexcept
	{
		pheap_options opts{};

		opts.struct_size = sizeof(opts);
		opts.size = how.size;
		opts.layout = how.layout;
		opts.durability = how.durability;
		opts.flags = how.flags;
		opts.mode = how.mode;
		return opts;
	}

	pheap_t *heap_;
};

namespace detail
{

/* Natural alignment covers multiples of 16; what needs more is asked for. */
inline void *reserve(pheap_t *heap, std::size_t size, std::size_t alignment) noexcept
{
	return alignment > 16 || size % alignment ? pheap_aligned_alloc(heap, alignment, size)
						  : pheap_alloc(heap, size);
}

template <class T> std::size_t bytes_of(std::size_t n)
{
	if (n > std::numeric_limits<std::size_t>::max() / sizeof(T))
		throw std::bad_array_new_length();
	return n * sizeof(T);
}

} // namespace detail

/* Construct a T in reserved memory of a heap. */
template <class T, class... Args> owned<T> make(const heap &in, Args &&...args)
{
	struct guard {
		pheap_t *heap;
		void *memory;
		~guard()
		{
			pheap_free(heap, memory);
		}
	} memory{in.get(), check(detail::reserve(in.get(), sizeof(T), alignof(T)))};
	T *object = ::new (memory.memory) T(std::forward<Args>(args)...);

	memory.memory = nullptr;
	return owned<T>(object, reserved_delete<T>{in.get()});
}

/* ---- types ------------------------------------------------------------------------------ */

/*
 * Objects of class T as a type that the pool knows (pheap/type.h): its name, its version,
 * and which members are references, in the order in which they are in T. T is standard
 * layout; the members are ref<...> or pheap_ref. Valid until the heap is closed.
 *
 *	pheap::type<node> nodes(heap, "node", 1, &node::left, &node::right);
 *	heap.publish(slot, nodes.make(42));
 *	node *made = nodes.make_in(tx, 42);
 */
template <class T> class type
{
	static_assert(std::is_standard_layout_v<T>);

      public:
	template <class... M>
	type(const heap &in, const char *name, std::uint32_t version, M T::*...members)
	    : type(flags{0}, in, name, version, members...)
	{
	}

	/* With flags of pheap/type.h: PHEAP_TYPE_COUNTED. */
	struct flags {
		unsigned value;
	};
	template <class... M>
	type(flags with, const heap &in, const char *name, std::uint32_t version, M T::*...members)
	{
		static_assert(((sizeof(M) == sizeof(pheap_ref)) && ...));
		const std::uint32_t offsets[sizeof...(M) + 1] = {offset_of(members)..., 0};
		pheap_type_info info{};

		info.struct_size = sizeof(info);
		info.name = name;
		info.version = version;
		info.flags = with.value;
		info.size = sizeof(T);
		info.refs = offsets;
		info.nrefs = sizeof...(M);
		type_ = check(pheap_type_register(in.get(), &info));
		heap_ = in.get();
	}

	pheap_type_t *get() const noexcept
	{
		return type_;
	}
	pheap_t *in() const noexcept
	{
		return heap_;
	}

	/* Construct a T in reserved memory. */
	template <class... Args> owned<T> make(Args &&...args) const
	{
		return owned<T>(construct(check(pheap_alloc_typed(type_)), give_back{heap_},
					  std::forward<Args>(args)...),
				reserved_delete<T>{heap_});
	}

	/* The same in a transaction: an object that commit publishes. */
	template <class Tx, class... Args> T *make_in(Tx &tx, Args &&...args) const
	{
		pheap_tx_t *raw = tx.get();

		return construct(check(pheap_tx_alloc_typed(raw, type_)), drop{raw},
				 std::forward<Args>(args)...);
	}

	/* Call fn(T &) for each published object (pheap_object_next). */
	template <class F> void for_each(F &&fn) const
	{
		std::uint64_t cursor = 0;
		pheap_object object;

		while (pheap_object_next(heap_, type_, &cursor, &object))
			fn(*static_cast<T *>(object.ptr));
	}

      private:
	struct give_back {
		pheap_t *heap;
		void operator()(void *memory) const
		{
			pheap_free(heap, memory);
		}
	};
	struct drop {
		pheap_tx_t *tx;
		void operator()(void *memory) const
		{
			pheap_tx_free(tx, memory);
		}
	};

	template <class Undo, class... Args>
	static T *construct(void *memory, Undo undo, Args &&...args)
	{
		std::unique_ptr<void, Undo> guard(memory, undo);
		T *object = ::new (memory) T(std::forward<Args>(args)...);

		guard.release();
		return object;
	}

	template <class M> static std::uint32_t offset_of(M T::*member)
	{
		alignas(T) static const char space[sizeof(T)] = {};
		const T *object = reinterpret_cast<const T *>(space);
		const char *at = reinterpret_cast<const char *>(&(object->*member));

		return static_cast<std::uint32_t>(at - space);
	}

	pheap_type_t *type_;
	pheap_t *heap_;
};

/* ---- relative pointers --------------------------------------------------------------------------
 */

/*
 * A pointer that holds how far it is from itself to what it points to: the same wherever the
 * pool is mapped, as long as both lie in one pool, or neither is on media. It can be copied
 * with its copy constructor, not byte by byte. All that a random access iterator does.
 */
template <class T> class relative_ptr
{
      public:
	using element_type = T;
	using value_type = std::remove_cv_t<T>;
	using difference_type = std::ptrdiff_t;
	using pointer = relative_ptr;
	using reference = std::add_lvalue_reference_t<T>;
	using iterator_category = std::random_access_iterator_tag;
	template <class U> using rebind = relative_ptr<U>;

	relative_ptr() noexcept = default;
	relative_ptr(std::nullptr_t) noexcept
	{
	}
	explicit relative_ptr(T *target) noexcept
	{
		set(target);
	}
	relative_ptr(const relative_ptr &other) noexcept
	{
		set(other.get());
	}
	template <class U, class = std::enable_if_t<std::is_convertible_v<U *, T *>>>
	relative_ptr(const relative_ptr<U> &other) noexcept
	{
		set(other.get());
	}
	template <class U, class = std::enable_if_t<!std::is_convertible_v<U *, T *>>, class = void>
	explicit relative_ptr(const relative_ptr<U> &other) noexcept
	{
		set(static_cast<T *>(other.get()));
	}
	template <class U> static relative_ptr pointer_to(U &target) noexcept
	{
		return relative_ptr(std::addressof(target));
	}

	relative_ptr &operator=(const relative_ptr &other) noexcept
	{
		set(other.get());
		return *this;
	}
	relative_ptr &operator=(std::nullptr_t) noexcept
	{
		distance_ = null;
		return *this;
	}

	T *get() const noexcept
	{
		return distance_ == null ? nullptr : reinterpret_cast<T *>(here() + distance_);
	}
	T *operator->() const noexcept
	{
		return get();
	}
	reference operator*() const noexcept
	{
		return *get();
	}
	template <class N> reference operator[](N i) const noexcept
	{
		return get()[i];
	}
	explicit operator bool() const noexcept
	{
		return distance_ != null;
	}

	relative_ptr &operator+=(difference_type n) noexcept
	{
		set(get() + n);
		return *this;
	}
	relative_ptr &operator-=(difference_type n) noexcept
	{
		return *this += -n;
	}
	relative_ptr &operator++() noexcept
	{
		return *this += 1;
	}
	relative_ptr &operator--() noexcept
	{
		return *this += -1;
	}
	relative_ptr operator++(int) noexcept
	{
		relative_ptr old(*this);

		++*this;
		return old;
	}
	relative_ptr operator--(int) noexcept
	{
		relative_ptr old(*this);

		--*this;
		return old;
	}
	friend relative_ptr operator+(const relative_ptr &p, difference_type n) noexcept
	{
		return relative_ptr(p.get() + n);
	}
	friend relative_ptr operator+(difference_type n, const relative_ptr &p) noexcept
	{
		return p + n;
	}
	friend relative_ptr operator-(const relative_ptr &p, difference_type n) noexcept
	{
		return relative_ptr(p.get() - n);
	}

      private:
	/* No pointer points into its own second byte; 0 would be to itself. */
	static constexpr std::intptr_t null = 1;

	std::intptr_t here() const noexcept
	{
		return reinterpret_cast<std::intptr_t>(this);
	}
	void set(T *target) noexcept
	{
		distance_ = target ? reinterpret_cast<std::intptr_t>(target) - here() : null;
	}

	std::intptr_t distance_ = null;
};

template <class T, class U>
std::ptrdiff_t operator-(const relative_ptr<T> &a, const relative_ptr<U> &b) noexcept
{
	return a.get() - b.get();
}

template <class T, class U>
bool operator==(const relative_ptr<T> &a, const relative_ptr<U> &b) noexcept
{
	return a.get() == b.get();
}
template <class T, class U>
bool operator!=(const relative_ptr<T> &a, const relative_ptr<U> &b) noexcept
{
	return a.get() != b.get();
}
template <class T, class U>
bool operator<(const relative_ptr<T> &a, const relative_ptr<U> &b) noexcept
{
	return a.get() < b.get();
}
template <class T, class U>
bool operator>(const relative_ptr<T> &a, const relative_ptr<U> &b) noexcept
{
	return b < a;
}
template <class T, class U>
bool operator<=(const relative_ptr<T> &a, const relative_ptr<U> &b) noexcept
{
	return !(b < a);
}
template <class T, class U>
bool operator>=(const relative_ptr<T> &a, const relative_ptr<U> &b) noexcept
{
	return !(a < b);
}
template <class T> bool operator==(const relative_ptr<T> &p, std::nullptr_t) noexcept
{
	return !p;
}
template <class T> bool operator!=(const relative_ptr<T> &p, std::nullptr_t) noexcept
{
	return bool(p);
}
template <class T> bool operator==(std::nullptr_t, const relative_ptr<T> &p) noexcept
{
	return !p;
}
template <class T> bool operator!=(std::nullptr_t, const relative_ptr<T> &p) noexcept
{
	return bool(p);
}

template <class T> class persistent_allocator;

/* A vector that lives in a pool: a member of a published object. */
template <class T> using vector = std::vector<T, persistent_allocator<T>>;

/* ---- transactions
 * ----------------------------------------------------------------------------------- */

/*
 * A transaction for a scope: what has not been committed at its end, by an exception or
 * otherwise, is undone. It belongs to the thread that began it; in that thread it is the
 * *current* one until it ends, or another is begun within its scope.
 */
class transaction
{
      public:
	explicit transaction(const heap &in) : transaction(in.get())
	{
	}
	explicit transaction(pheap_t *in) : heap_(in), tx_(check(pheap_tx_begin(in)))
	{
		outer_ = std::exchange(innermost(), this);
	}
	transaction(const transaction &) = delete;
	transaction &operator=(const transaction &) = delete;

	/* Undo what has not been committed. What cannot be undone because a write-back fails
	 * is when the pool is opened again; until then the heap refuses to be written. */
	~transaction()
	{
		pheap_tx_abort(std::exchange(tx_, nullptr));
		leave();
	}

	/* Commit, or throw what went wrong; the transaction is over in either case. */
	void commit()
	{
		if (failed_) {
			int rc = failed_;

			abort();
			throw std::system_error(-rc, std::generic_category(),
						"pheap::transaction: a container could not free");
		}
		int rc = pheap_tx_commit(std::exchange(tx_, nullptr));

		leave();
		check(rc);
	}

	/* Undo now what the destructor would. */
	void abort()
	{
		int rc = pheap_tx_abort(std::exchange(tx_, nullptr));

		leave();
		check(rc);
	}

	pheap_tx_t *get() const noexcept
	{
		return tx_;
	}

	/* An object that commit publishes; fill it with plain stores. */
	template <class T, class... Args> T *make(Args &&...args)
	{
		struct guard {
			pheap_tx_t *tx;
			void *memory;
			~guard()
			{
				if (memory)
					pheap_tx_free(tx, memory);
			}
		} memory{tx_, check(allocate(sizeof(T), alignof(T)))};
		T *object = ::new (memory.memory) T(std::forward<Args>(args)...);

		memory.memory = nullptr;
		return object;
	}

	/* At commit: a counted reference (pheap/count.h). */
	template <class T> void link(ref<T> &slot, const T *object)
	{
		check(pheap_tx_link(tx_, slot.slot(), pheap_ref_of(heap_, object)));
	}

	/* Call the destructor of a published object, or of one made here, and free it: with the
	 * commit, and not at all without. Its own bytes are saved if the destructor may
	 * change them; what else it changes in the pool, such as elements of its vectors, the
	 * caller saves before. */
	template <class T> void destroy(T *object)
	{
		if constexpr (!std::is_trivially_destructible_v<T>) {
			modify(*object);
			object->~T();
		}
		check(pheap_tx_free(tx_, object));
	}

	/* Save an object's own bytes, so that it can be changed in place. One fence. */
	template <class T> T &modify(T &object)
	{
		snapshot(&object, sizeof(T));
		return object;
	}

	/* Save a vector and all that it has room for. One fence. */
	template <class T> vector<T> &modify(vector<T> &v)
	{
		return save(v, 0);
	}

	/* The same for what only appends: of its elements the place behind the last one. */
	template <class T> vector<T> &append_to(vector<T> &v)
	{
		return save(v, v.size());
	}

	void snapshot(void *address, std::size_t length)
	{
		check(pheap_tx_snapshot(tx_, address, length));
	}

	/* At commit, and seen from then on; in an object made here at once. No fence. */
	template <class T> void set(ref<T> &slot, const T *object)
	{
		pheap_ref offset = pheap_ref_of(heap_, object);

		if (object && !offset)
			fail(-errno);
		check(pheap_tx_set(tx_, slot.slot(), offset));
	}
	void set(std::uint64_t &word, std::uint64_t value)
	{
		check(pheap_tx_set(tx_, &word, value));
	}
	template <class T> void write(T &object, const T &value)
	{
		static_assert(std::is_trivially_copyable_v<T>);
		check(pheap_tx_write(tx_, &object, &value, sizeof(T)));
	}

	/* Set the slot to null and free what it leads to now, at commit. */
	template <class T> void retire(ref<T> &slot)
	{
		static_assert(std::is_trivially_destructible_v<T>, "use destroy() and set()");
		check(pheap_tx_retire(tx_, slot.slot()));
	}

	/* The current transaction of this thread, or NULL. */
	static transaction *current() noexcept
	{
		return innermost();
	}

	/* The innermost one of this thread on the heap in which address lies; for an address
	 * in no heap the current one; NULL where there is none. */
	static transaction *current_for(const void *address) noexcept
	{
		transaction *found = innermost();
		pheap_t *heap = found && !contains(found->heap_, address) ? pheap_heap_of(address)
									  : nullptr;

		while (heap && found && found->heap_ != heap)
			found = found->outer_;
		return found;
	}

	/* For containers and operator new. NULL and errno without memory. */
	void *allocate(std::size_t size, std::size_t alignment) noexcept
	{
		void *memory;

		if (alignment <= 16 && size % alignment == 0)
			return pheap_tx_alloc(tx_, size);
		memory = pheap_aligned_alloc(heap_, alignment, size);
		if (memory && pheap_tx_adopt(tx_, memory)) {
			int error = errno;

			pheap_free(heap_, memory);
			errno = error;
			return nullptr;
		}
		return memory;
	}

	/* The same, for freeing: an error is thrown by commit(). */
	void deallocate(void *memory) noexcept
	{
		int rc = pheap_tx_free(tx_, memory);

		if (rc)
			failed_ = rc;
	}

      private:
	static transaction *&innermost() noexcept
	{
		static thread_local transaction *current = nullptr;

		return current;
	}

	static bool contains(pheap_t *heap, const void *address) noexcept
	{
		const auto *view = reinterpret_cast<const pheap_view *>(heap);

		return reinterpret_cast<std::uintptr_t>(address) -
			       reinterpret_cast<std::uintptr_t>(view->base) <
		       view->size;
	}

	/* No longer current, wherever it is among those of the thread. */
	void leave() noexcept
	{
		for (transaction **at = &innermost(); *at; at = &(*at)->outer_) {
			if (*at == this) {
				*at = outer_;
				break;
			}
		}
	}

	template <class T> vector<T> &save(vector<T> &v, std::size_t first)
	{
		pheap_range range[2] = {{&v, sizeof(v)}, {nullptr, 0}};
		std::size_t room = v.capacity() - first;

		range[1].addr = v.data() + first;
		range[1].length = room * sizeof(T);
		check(pheap_tx_snapshotv(tx_, range, room ? 2 : 1));
		return v;
	}

	pheap_t *heap_;
	pheap_tx_t *tx_;
	transaction *outer_ = nullptr;
	int failed_ = 0;
};

/* ---- containers
 * ----------------------------------------------------------------------------------------- */

/*
 * Allocator for containers in DRAM whose elements are reserved memory of a heap: of a
 * VOLATILE one, or scratch memory of another, gone with a crash or a close. Plain pointers,
 * so it is for every container. The heap has to outlive the container.
 */
template <class T> class allocator
{
      public:
	using value_type = T;
	using propagate_on_container_copy_assignment = std::true_type;
	using propagate_on_container_move_assignment = std::true_type;
	using propagate_on_container_swap = std::true_type;
	using is_always_equal = std::false_type;

	allocator(const heap &in) noexcept : heap_(in.get())
	{
	}
	explicit allocator(pheap_t *in) noexcept : heap_(in)
	{
	}
	template <class U> allocator(const allocator<U> &other) noexcept : heap_(other.get())
	{
	}

	T *allocate(std::size_t n)
	{
		std::size_t size = detail::bytes_of<T>(n);
		void *memory = detail::reserve(heap_, size ? size : 1, alignof(T));

		if (!memory)
			throw bad_alloc();
		return static_cast<T *>(memory);
	}
	void deallocate(T *memory, std::size_t) noexcept
	{
		pheap_free(heap_, memory);
	}

	pheap_t *get() const noexcept
	{
		return heap_;
	}

      private:
	pheap_t *heap_;
};

template <class T, class U> bool operator==(const allocator<T> &a, const allocator<U> &b) noexcept
{
	return a.get() == b.get();
}
template <class T, class U> bool operator!=(const allocator<T> &a, const allocator<U> &b) noexcept
{
	return !(a == b);
}

/*
 * Allocator for containers that live in a pool themselves, as members of published objects.
 * It has no state: it allocates and frees in the current transaction on the heap that
 * the container lies in. Without one, allocating throws and freeing ends the program.
 *
 * The container must use the allocator's pointer type everywhere. In libstdc++ std::vector
 * does; its lists, maps and hash tables store plain pointers in their nodes and do not compile
 * with this allocator. Before a container of a published object is changed, it has to be saved:
 * transaction::modify() and append_to(). Nothing but a transaction makes its changes durable.
 */
template <class T> class persistent_allocator
{
      public:
	using value_type = T;
	using pointer = relative_ptr<T>;
	using const_pointer = relative_ptr<const T>;
	using void_pointer = relative_ptr<void>;
	using const_void_pointer = relative_ptr<const void>;
	using size_type = std::size_t;
	using difference_type = std::ptrdiff_t;
	using is_always_equal = std::true_type;

	persistent_allocator() noexcept = default;
	template <class U> persistent_allocator(const persistent_allocator<U> &) noexcept
	{
	}

	pointer allocate(std::size_t n)
	{
		std::size_t size = detail::bytes_of<T>(n);
		transaction *tx = transaction::current_for(this);
		void *memory;

		if (!tx)
			throw std::system_error(EINVAL, std::generic_category(),
						"pheap::persistent_allocator: no transaction on "
						"the container's heap");
		memory = tx->allocate(size ? size : 1, alignof(T));
		if (!memory)
			throw bad_alloc();
		return pointer(static_cast<T *>(memory));
	}

	void deallocate(pointer memory, std::size_t) noexcept
	{
		transaction *tx = transaction::current_for(memory.get());

		if (!tx)
			std::terminate(); /* the memory is published: it would leak for good */
		tx->deallocate(memory.get());
	}
};

template <class T, class U>
bool operator==(const persistent_allocator<T> &, const persistent_allocator<U> &) noexcept
{
	return true;
}
template <class T, class U>
bool operator!=(const persistent_allocator<T> &, const persistent_allocator<U> &) noexcept
{
	return false;
}

/* ---- operator new
 * -------------------------------------------------------------------------------------------- */

/*
 * A base of classes whose objects live in heaps: `new (heap) T` reserves, `new (tx) T`
 * allocates in a transaction, and a plain `new T` does not compile. `delete` works on what is
 * reserved, and on objects of the current transaction's heap, which it frees with the commit
 * (transaction::destroy() also saves the bytes that a destructor changes); on anything else
 * it ends the program.
 */
class in_heap
{
      public:
	static void *operator new(std::size_t) = delete;
	static void *operator new[](std::size_t) = delete;

	static void *operator new(std::size_t size, const heap &in)
	{
		return made(pheap_alloc(in.get(), size));
	}
	static void *operator new(std::size_t size, std::align_val_t alignment, const heap &in)
	{
		return made(detail::reserve(in.get(), size, std::size_t(alignment)));
	}
	static void *operator new(std::size_t size, transaction &tx)
	{
		return made(tx.allocate(size, 1));
	}
	static void *operator new(std::size_t size, std::align_val_t alignment, transaction &tx)
	{
		return made(tx.allocate(size, std::size_t(alignment)));
	}
	static void *operator new(std::size_t, void *memory) noexcept
	{
		return memory;
	}

	static void operator delete(void *memory) noexcept
	{
		give_back(memory);
	}
	static void operator delete(void *memory, std::align_val_t) noexcept
	{
		give_back(memory);
	}
	/* When a constructor has thrown. */
	static void operator delete(void *memory, const heap &) noexcept
	{
		give_back(memory);
	}
	static void operator delete(void *memory, std::align_val_t, const heap &) noexcept
	{
		give_back(memory);
	}
	static void operator delete(void *memory, transaction &tx) noexcept
	{
		tx.deallocate(memory);
	}
	static void operator delete(void *memory, std::align_val_t, transaction &tx) noexcept
	{
		tx.deallocate(memory);
	}
	static void operator delete(void *, void *) noexcept
	{
	}

      private:
	static void *made(void *memory)
	{
		if (!memory)
			throw bad_alloc();
		return memory;
	}

	static void give_back(void *memory) noexcept
	{
		pheap_t *heap = memory ? pheap_heap_of(memory) : nullptr;
		transaction *tx = heap ? transaction::current_for(memory) : nullptr;

		if (!memory || (heap && !pheap_free(heap, memory)))
			return;
		if (!tx || pheap_tx_free(tx->get(), memory))
			std::terminate();
	}
};

} // namespace pheap

#endif
