/*
 * new.c - operator new and delete of C++17 in all forms, by their mangled names, so that
 * neither a C++ compiler nor its library is needed.
 *
 * Where there is no memory, operator new calls the new-handler until there is some or the
 * handler throws; without a handler it throws std::bad_alloc. Both are done by whatever
 * C++ library the process has loaded by then. A form with std::nothrow returns NULL;
 * an exception from its handler ends the program, as from any function that must not throw.
 * This file is compiled with -fexceptions: exceptions pass through it.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>

#include "error.h"
#include "process.h"

#define API PHEAP_API
#define DEFAULT_ALIGNMENT 16u

typedef void handler(void);
struct nothrow; /* std::nothrow_t */

/* A function of the C++ library, even where it was loaded for a plug-in only. */
static handler *cxx_function(const char *name)
{
	void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
	union { /* POSIX: dlsym() gives either */
		void *object;
		handler *function;
	} symbol = {.object = dlsym(RTLD_DEFAULT, name)};

	if (!symbol.object && library)
		symbol.object = dlsym(library, name);
	return symbol.function;
}

static handler *new_handler(void)
{
	typedef handler *getter(void);
	getter *get = (getter *)cxx_function("_ZSt15get_new_handlerv");

	return get ? get() : NULL;
}

static void throw_bad_alloc(void)
{
	handler *throw = cxx_function("_ZSt17__throw_bad_allocv");

	if (throw)
		throw();
	ph_error(ENOMEM, "no memory, and no C++ library that could throw std::bad_alloc");
	ph_process_fail("operator new");
}

static __attribute__((noinline)) void *new_otherwise(size_t size, size_t alignment, bool may_throw)
{
	void *ptr;

	while (!(ptr = memalign(alignment, size))) {
		handler *handle = new_handler();

		if (handle)
			handle();
		else if (may_throw)
			throw_bad_alloc();
		else
			break;
	}
	return ptr;
}

static inline void *new_object(size_t size, bool may_throw)
{
	void *ptr = malloc(size);

	return ph_likely(ptr != NULL) ? ptr : new_otherwise(size, DEFAULT_ALIGNMENT, may_throw);
}

static inline void *new_aligned(size_t size, size_t alignment, bool may_throw)
{
	void *ptr = memalign(alignment, size);

	return ph_likely(ptr != NULL) ? ptr : new_otherwise(size, alignment, may_throw);
}

/* _Zn: new, w of an object, a of an array; _Zd: delete, l or a; m: with size, or the
 * parameter; St11align_val_t: with alignment; RKSt9nothrow_t: std::nothrow. */
#define NEW(form)                                                                          \
	API void *_Zn##form##m(size_t size);                                               \
	API void *_Zn##form##m(size_t size)                                                \
	{                                                                                  \
		return new_object(size, true);                                             \
	}                                                                                  \
	API void *_Zn##form##mRKSt9nothrow_t(size_t size, const struct nothrow *tag);      \
	API void *_Zn##form##mRKSt9nothrow_t(size_t size, const struct nothrow *tag)       \
	{                                                                                  \
		(void)tag;                                                                 \
		return new_object(size, false);                                            \
	}                                                                                  \
	API void *_Zn##form##mSt11align_val_t(size_t size, size_t alignment);              \
	API void *_Zn##form##mSt11align_val_t(size_t size, size_t alignment)               \
	{                                                                                  \
		return new_aligned(size, alignment, true);                                 \
	}                                                                                  \
	API void *_Zn##form##mSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, \
							    const struct nothrow *tag);    \
	API void *_Zn##form##mSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, \
							    const struct nothrow *tag)     \
	{                                                                                  \
		(void)tag;                                                                 \
		return new_aligned(size, alignment, false);                                \
	}

NEW(w)
NEW(a)

/* The size and the alignment that delete may be told are not needed: the heap knows. */
#define DELETE(name)              \
	API void name(void *ptr); \
	API void name(void *ptr)  \
	{                         \
		free(ptr);        \
	}

DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm)
DELETE(_ZdaPvm)
DELETE(_ZdlPvRKSt9nothrow_t)
DELETE(_ZdaPvRKSt9nothrow_t)
DELETE(_ZdlPvSt11align_val_t)
DELETE(_ZdaPvSt11align_val_t)
DELETE(_ZdlPvmSt11align_val_t)
DELETE(_ZdaPvmSt11align_val_t)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t)
