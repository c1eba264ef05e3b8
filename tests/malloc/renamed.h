/*
 * renamed.h - libpheapmalloc under names of its own, in front of its sources and of its test:
 * so that it can be one program with a sanitizer, which needs malloc for itself.
 */
#ifndef RENAMED_H
#define RENAMED_H

#define PH_MALLOC_RENAMED

#define malloc our_malloc
#define calloc our_calloc
#define realloc our_realloc
#define reallocarray our_reallocarray
#define free our_free
#define cfree our_cfree
#define memalign our_memalign
#define aligned_alloc our_aligned_alloc
#define posix_memalign our_posix_memalign
#define valloc our_valloc
#define pvalloc our_pvalloc
#define malloc_usable_size our_malloc_usable_size
#define malloc_trim our_malloc_trim
#define __libc_malloc our_libc_malloc
#define __libc_calloc our_libc_calloc
#define __libc_realloc our_libc_realloc
#define __libc_free our_libc_free
#define __libc_memalign our_libc_memalign
#define __libc_valloc our_libc_valloc
#define __libc_pvalloc our_libc_pvalloc
#define __posix_memalign our_libc_posix_memalign

#endif
