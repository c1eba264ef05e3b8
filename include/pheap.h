/*
 * pheap.h - a persistent-memory object heap.
 *
 * A program opens a pool file, reserves objects in it at malloc speed, links
 * them into slots with one fence each, and finds them again after kill -9, a
 * power cut or a reboot. Read pool.h, alloc.h and publish.h first, then tx.h.
 */
#ifndef PHEAP_H
#define PHEAP_H

#include <pheap/base.h>

#include <pheap/pool.h>
#include <pheap/ref.h>

#include <pheap/alloc.h>
#include <pheap/publish.h>
#include <pheap/tx.h>
#include <pheap/gc.h>
#include <pheap/type.h>
#include <pheap/count.h>

#include <pheap/arena.h>
#include <pheap/compact.h>
#include <pheap/persist.h>
#include <pheap/region.h>

#include <pheap/check.h>
#include <pheap/debug.h>
#include <pheap/stats.h>

#endif
