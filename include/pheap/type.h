/*
 * pheap/type.h - types: what an object is and where its references are.
 *
 * A type is registered once by name and kept in the pool: its size, its version, and the
 * offsets of the references in an object. Objects of a type lie in slabs of their own, so
 * that none needs a header: an object's type is known from its address. What can be done
 * with that: iterate over all objects of a type, count references (pheap/count.h), find
 * garbage (pheap/gc.h).
 *
 *	struct node { pheap_ref left, right; uint64_t key; };
 *	static const struct pheap_type_info node_info = PHEAP_TYPE(struct node, 1, left, right);
 *
 *	pheap_type_t *node = pheap_type_register(heap, &node_info);
 *	struct node *n = pheap_alloc_typed(node);
 *
 * Types need a pool: on a volatile heap registering is ENOTSUP. All functions are
 * thread-safe.
 */
#ifndef PHEAP_TYPE_H
#define PHEAP_TYPE_H

#include <stdbool.h>

#include <pheap/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A type of one open heap. Valid until pheap_close(). */
typedef struct pheap_type pheap_type_t;

/* Flags. */
enum {
	/* Objects are arrays: size and offsets are those of one element. */
	PHEAP_TYPE_ARRAY = 1u << 0,
	/* References to objects are counted (pheap/count.h). Not with a callback. */
	PHEAP_TYPE_COUNTED = 1u << 1,
	/* References are found by a callback. Set by pheap_type_register() where one is
	 * given, and kept: what meets such objects without the callback (another program, a
	 * tool) has to take every word for a reference that could be one. */
	PHEAP_TYPE_CALLBACK = 1u << 2,
};

#define PHEAP_TYPE_NAME_MAX 64	 /* with the terminating NUL */
#define PHEAP_TYPE_REFS_MAX 1024 /* references in an object, or element, of a type */
#define PHEAP_TYPES_MAX 511	 /* types of a pool: none is ever dropped */

/* Called with the address of a slot, which may hold null. */
typedef void pheap_visit_fn(void *arg, pheap_ref *slot);

/*
 * Calls visit(arg, slot) for every slot of an object that holds a reference now: a tagged
 * union, say. size: bytes of its block, at least those asked for. It may be called in any
 * thread, for an object that is being filled, and for what a damaged pool has in its
 * place: it reads the object's own size bytes only, calls nothing on the heap, and returns.
 */
typedef void pheap_trace_fn(void *object, uint64_t size, pheap_visit_fn *visit, void *arg);

/*
 * What a type is. Offsets are in bytes from the start of an object (an element, with
 * PHEAP_TYPE_ARRAY), multiples of 8, in ascending order, each at most size - 8; a weak
 * one (of counted types only) is not a strong one as well.
 */
struct pheap_type_info {
	size_t struct_size; /* in: sizeof(struct pheap_type_info) */
	const char *name;   /* 1 to 63 bytes, no control characters */
	uint32_t version;   /* of the struct, as the program counts them */
	unsigned flags;
	uint64_t size;	      /* of an object, or of an element; a multiple of 8 with references */
	const uint32_t *refs; /* offsets of references */
	size_t nrefs;
	const uint32_t *weak; /* offsets of weak references (pheap/count.h) */
	size_t nweak;
	pheap_trace_fn *trace; /* NULL: the offsets say it all */
};

/*
 * Register a type, or find the one of that name. If the pool has it, size, version, flags
 * and offsets must be the same. The callback is not kept in the pool: it is that of the
 * last call in this process that gave one. info is copied.
 *
 * A new type is made in one record: atomic to a crash, one fence (two where name and
 * offsets take more than 240 bytes). An old one: no fence.
 *
 * Errors: EINVAL (the pool's type differs: the message says in what; info is not well
 * formed), ENOSPC (511 types, or the pool is full), ENOTSUP (volatile heap), EUCLEAN (its
 * entry in the pool is damaged), EROFS (read-only, and the pool does not have it), ENOMEM,
 * EIO.
 */
PHEAP_API pheap_type_t *pheap_type_register(pheap_t *heap, const struct pheap_type_info *info);

/* The type of that name. Errors: ENOENT, EINVAL, EUCLEAN (damaged). No fence. */
PHEAP_API pheap_type_t *pheap_type_find(pheap_t *heap, const char *name);

/*
 * The type with an id, which is from 1 to the number of types, in the order in which they
 * were registered. Errors: ENOENT (none has it), EUCLEAN (damaged). No fence.
 */
PHEAP_API pheap_type_t *pheap_type_by_id(pheap_t *heap, uint32_t id);

/* The id of a type. It is the same whenever the pool is opened. */
PHEAP_API uint32_t pheap_type_id(const pheap_type_t *type);

/*
 * Fill info, whose struct_size is set. name and arrays belong to the library and are valid
 * until pheap_close(). Errors: EINVAL.
 */
PHEAP_API int pheap_type_get_info(const pheap_type_t *type, struct pheap_type_info *info);

/*
 * The type of the object at ptr, which is reserved or published; NULL for one without a
 * type, with errno 0. Errors: EINVAL (ptr is not where an object starts), EUCLEAN (its type
 * is damaged).
 */
PHEAP_API pheap_type_t *pheap_type_of(pheap_t *heap, const void *ptr);

/*
 * Reserve an object of a type: as pheap_alloc, with the type's size. Its references are
 * null; what else it holds is undefined, unless zeroed by the second one. Errors: EINVAL
 * (an array type), and those of pheap_alloc.
 */
PHEAP_API void *pheap_alloc_typed(pheap_type_t *type);
PHEAP_API void *pheap_zalloc_typed(pheap_type_t *type);

/*
 * Reserve an array of n elements. Its references are null, and so are those of elements
 * for which its block has room behind the last: pheap_usable_size() over the type's size is
 * how many there are for all who look into the array. Errors: EINVAL (n is 0; not an array
 * type), and those of pheap_alloc.
 */
PHEAP_API void *pheap_alloc_array(pheap_type_t *type, size_t n);
PHEAP_API void *pheap_zalloc_array(pheap_type_t *type, size_t n);

/* The same within a transaction (pheap/tx.h: pheap_tx_alloc). */
PHEAP_API void *pheap_tx_alloc_typed(pheap_tx_t *tx, pheap_type_t *type);
PHEAP_API void *pheap_tx_alloc_array(pheap_tx_t *tx, pheap_type_t *type, size_t n);

/* An object that iteration has come to. */
struct pheap_object {
	void *ptr;
	pheap_ref ref;
	size_t size;	    /* bytes of its block */
	pheap_type_t *type; /* NULL: none, or a damaged one */
};

/*
 * The next published object of a type, or with type NULL of all: fills object and returns
 * true; false where there is none. *cursor is 0 for the first call, and is the library's
 * from then on. In the order of addresses.
 *
 * Others may allocate, publish and free meanwhile: an object that is published all the
 * time is reported once, one that is published or retired meanwhile once or not at all. That
 * one stays published while the caller looks at it is the program's to see to. Objects by
 * which the library keeps types are not reported. No fence, no DRAM.
 */
PHEAP_API bool pheap_object_next(pheap_t *heap, const pheap_type_t *type, uint64_t *cursor,
				 struct pheap_object *object);

/*
 * Start loading what an object of a type refers to: the first size bytes, at most
 * PHEAP_PREFETCH_MAX, behind each of its references that are not weak; of an array, those of
 * all its elements. The object itself is read; pheap_prefetch() loads one. Worth it where
 * what it refers to is used some hundred instructions later. Where the type has a callback,
 * that is called. type or object NULL, and what is no object: nothing. Never fails, and
 * leaves errno alone. No fence.
 */
PHEAP_API void pheap_prefetch_typed(const pheap_type_t *type, const void *object, size_t size);

#ifdef __cplusplus
}
#endif

/*
 * PHEAP_TYPE(struct node, 1, left, right) is a struct pheap_type_info: of a struct, its
 * version, and the names of those of its members that are references, none to sixteen, in
 * the order in which they are in the struct. That each has 8 bytes is checked when it is
 * compiled. The type's name is the first argument as it stands, "struct node" here.
 * PHEAP_TYPE_FLAGS(flags, struct node, 1, left, right) has flags as well.
 *
 * The offsets are a compound literal: use it for a variable outside functions, or where it
 * is used in the same block. For C++ see pheap.hpp.
 */
#ifndef __cplusplus
#define PHEAP_TYPE(...) PHEAP_TYPE_FLAGS(0, __VA_ARGS__)
/* clang-format off */
#define PHEAP_TYPE_FLAGS(flags, ...) \
	PHEAP_TYPE_CALL_(PHEAP_TYPE_COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, \
					   5, 4, 3, 2, 1, 0, 0), flags, __VA_ARGS__)

/* How many members are named, behind struct and version; then the macro of that number. */
#define PHEAP_TYPE_COUNT_(T, version, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, N, ...) N
#define PHEAP_TYPE_CALL_(N, ...) PHEAP_TYPE_CALL2_(N, __VA_ARGS__)
#define PHEAP_TYPE_CALL2_(N, ...) PHEAP_TYPE_##N##_(__VA_ARGS__)
#define PHEAP_TYPE_INFO_(flags_, T, version_, ...) \
	{.struct_size = sizeof(struct pheap_type_info), .name = #T, .version = (version_), \
	 .flags = (flags_), .size = sizeof(T), __VA_ARGS__}
#define PHEAP_TYPE_0_(flags, T, version) PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 0)
#define PHEAP_TYPE_1_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 1, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT1_(T, __VA_ARGS__)})
#define PHEAP_TYPE_2_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 2, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT2_(T, __VA_ARGS__)})
#define PHEAP_TYPE_3_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 3, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT3_(T, __VA_ARGS__)})
#define PHEAP_TYPE_4_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 4, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT4_(T, __VA_ARGS__)})
#define PHEAP_TYPE_5_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 5, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT5_(T, __VA_ARGS__)})
#define PHEAP_TYPE_6_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 6, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT6_(T, __VA_ARGS__)})
#define PHEAP_TYPE_7_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 7, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT7_(T, __VA_ARGS__)})
#define PHEAP_TYPE_8_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 8, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT8_(T, __VA_ARGS__)})
#define PHEAP_TYPE_9_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 9, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT9_(T, __VA_ARGS__)})
#define PHEAP_TYPE_10_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 10, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT10_(T, __VA_ARGS__)})
#define PHEAP_TYPE_11_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 11, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT11_(T, __VA_ARGS__)})
#define PHEAP_TYPE_12_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 12, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT12_(T, __VA_ARGS__)})
#define PHEAP_TYPE_13_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 13, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT13_(T, __VA_ARGS__)})
#define PHEAP_TYPE_14_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 14, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT14_(T, __VA_ARGS__)})
#define PHEAP_TYPE_15_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 15, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT15_(T, __VA_ARGS__)})
#define PHEAP_TYPE_16_(flags, T, version, ...) \
	PHEAP_TYPE_INFO_(flags, T, version, .nrefs = 16, \
			 .refs = (const uint32_t[]){PHEAP_TYPE_AT16_(T, __VA_ARGS__)})

/* The offsets of so many members. */
#define PHEAP_TYPE_AT1_(T, m) \
	(uint32_t)(offsetof(T, m) + 0 * sizeof(char[sizeof(((T *)0)->m) == 8 ? 1 : -1]))
#define PHEAP_TYPE_AT2_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT1_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT3_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT2_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT4_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT3_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT5_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT4_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT6_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT5_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT7_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT6_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT8_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT7_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT9_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT8_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT10_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT9_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT11_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT10_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT12_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT11_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT13_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT12_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT14_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT13_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT15_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT14_(T, __VA_ARGS__)
#define PHEAP_TYPE_AT16_(T, m, ...) PHEAP_TYPE_AT1_(T, m), PHEAP_TYPE_AT15_(T, __VA_ARGS__)
/* clang-format on */
#endif

#endif
