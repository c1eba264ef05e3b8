/*
 * pool.c - open and close: from a file to a heap and back.
 *
 * PROTOCOL of open for writing, with what a crash after each step leaves
 *   1 lock, map, validate superblocks, state, zone and lane tables: no store
 *   2 a pool marked PROCESS by this boot is flushed as a whole
 *   3 recovery (replay.h; of traced pools recovery/traced.h): may run again
 *   4 for PROCESS the boot id, in the state line; FENCE: orders what 2 flushed before
 *     the status, and what 3 wrote before the epoch
 *   5 status, then the new epoch, in the same line; superblocks (format.h); flush;
 *     FENCE: orders them before all records. All logs have ended: the epoch is their
 *     key. Before the epoch: recovery runs again.
 *
 * PROTOCOL of close
 *   1 checkpoint: no live record is left, and what they wrote is durable. Traced pools:
 *     the bitmaps, from the states of objects, flush. PROCESS: flush everything instead;
 *     FENCE: orders that before the status
 *   2 status = CLEAN, flush, FENCE
 */
#include "pool.h"

#include <fcntl.h>
#include <unistd.h>

#include "alloc/span.h"
#include "alloc/tcache.h"
#include "alloc/traced.h"
#include "cancel.h"
#include "file.h"
#include "format.h"
#include "heap.h"
#include "place.h"
#include "recovery/check.h"
#include "recovery/replay.h"
#include "recovery/traced.h"
#include "tx/count.h"
#include "tx/lane.h"
#include "tx/tx.h"
#include "volatile.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the media format is little-endian: big-endian hosts are not supported"
#endif

#define KNOWN_FLAGS                                                                             \
	((unsigned)(PHEAP_READONLY | PHEAP_FORCE_PMEM | PHEAP_FORCE_MSYNC | PHEAP_CHECK_FIRST | \
		    PHEAP_TRACED | PHEAP_COLLECT))

static const struct pheap_options defaults = {.struct_size = sizeof(struct pheap_options)};

static int check_options(const char *what, const struct pheap_options *opts)
{
	if (opts->struct_size != sizeof(*opts))
		return ph_error(EINVAL,
				"%s: struct_size is %zu, not %zu: set it to sizeof(struct "
				"pheap_options), and compile against the header of this library",
				what, opts->struct_size, sizeof(*opts));
	if (opts->flags & ~KNOWN_FLAGS)
		return ph_error(EINVAL, "%s: unknown flags %#x", what, opts->flags & ~KNOWN_FLAGS);
	if (opts->flags & PHEAP_FORCE_PMEM && opts->flags & PHEAP_FORCE_MSYNC)
		return ph_error(EINVAL,
				"%s: PHEAP_FORCE_PMEM and PHEAP_FORCE_MSYNC exclude each other",
				what);
	if (opts->durability > PHEAP_VOLATILE)
		return ph_error(EINVAL, "%s: unknown durability %u", what, opts->durability);
	if (opts->layout && strlen(opts->layout) >= PHEAP_LAYOUT_MAX)
		return ph_error(EINVAL, "%s: the layout name has more than %d bytes", what,
				PHEAP_LAYOUT_MAX - 1);
	return 0;
}

/* ---- durability ------------------------------------------------------------------- */

/*
 * How stores of this mapping become durable at all: also used with PROCESS
 * durability, for the status and at close.
 */
static enum ph_backend media_backend(const struct ph_file *file, unsigned flags)
{
	if (flags & PHEAP_FORCE_MSYNC)
		return PH_MSYNC;
	return file->is_pmem || flags & PHEAP_FORCE_PMEM ? PH_PMEM : PH_MSYNC;
}

/* PROCESS durability. */
static void flush_nothing(struct ph_persist *pm)
{
	pm->backend = pm->backend == PH_HOOK ? PH_HOOK_NONE : PH_NONE;
	pm->pages = pm->auto_flush = false;
}

static int choose_durability(struct pheap *heap, const char *path, const struct pheap_options *opts)
{
	const struct ph_file *file = &heap->file;
	bool forced = opts->flags & (PHEAP_FORCE_PMEM | PHEAP_FORCE_MSYNC);
	bool can = file->is_pmem || forced || !ph_file_in_memory(file);

	heap->durability = opts->durability;
	if (opts->durability == PHEAP_DURABILITY_DEFAULT)
		heap->durability = can ? PHEAP_POWER : PHEAP_PROCESS;
	if (heap->durability == PHEAP_POWER && !can)
		return ph_error(ENOTSUP,
				"%s: a memory file system does not survive a power cut: ask for "
				"PHEAP_PROCESS, or put the pool on a disk or a DAX file system "
				"(for tests: PHEAP_FORCE_PMEM)",
				path);
	heap->media.backend = media_backend(file, opts->flags);
	heap->media.auto_flush = heap->media.backend == PH_PMEM && ph_auto_flush();
	heap->media.pages = heap->media.backend == PH_MSYNC;
	heap->pm = heap->media;
	if (heap->durability == PHEAP_PROCESS)
		flush_nothing(&heap->pm);
	return 0;
}

/* ---- state line --------------------------------------------------------------------- */

static void read_boot_id(uint8_t id[16])
{
	char text[40] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	unsigned n = 0;

	memset(id, 0, 16);
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0)
		for (const char *c = text; *c && n < 32; c++) {
			unsigned digit = *c >= 'a' ? (unsigned)*c - 'a' + 10 : (unsigned)*c - '0';

			if (*c == '-' || digit > 15)
				continue;
			id[n / 2] = (uint8_t)(id[n / 2] << 4 | digit);
			n++;
		}
	close(fd);
}

/*
 * Steps 4 and 5: mark the pool as in use and end all logs. The stores are to one line,
 * which keeps their order: no prefix of them has the new epoch and the old status.
 */
static int start_epoch(struct pheap *heap)
{
	bool process = heap->durability == PHEAP_PROCESS;
	struct pm_state *state = heap->state;
	uint8_t boot[16];
	int err;

	if (process) {
		read_boot_id(boot);
		ph_store(&heap->media, state->boot_id, boot, sizeof(boot));
	}
	if ((err = ph_fence(&heap->media, &heap->count)))
		return err;
	ph_store64(&heap->media, &state->status, process ? PM_STATUS_PROCESS : PM_STATUS_POWER);
	ph_store64(&heap->media, &state->epoch, ph_format_epoch());
	ph_format_mend(&heap->media, &heap->count, heap->view.base, &heap->super);
	return ph_persist_range(&heap->media, &heap->count, state, sizeof(*state));
}

/* ---- open ----------------------------------------------------------------------------- */

static int check_unflushed(struct pheap *heap, const char *path, unsigned flags)
{
	uint8_t boot[16];

	if (heap->state->status != PM_STATUS_PROCESS)
		return 0;
	read_boot_id(boot);
	/* An id that could not be read matches nothing. */
	if ((boot[0] | boot[15]) && !memcmp(boot, heap->state->boot_id, sizeof(boot)))
		return 0;
	if (flags & PHEAP_CHECK_FIRST)
		return ph_format_verify(&heap->file, path);
	return ph_error(EUCLEAN,
			"%s: the pool was in use with PROCESS durability when the machine went "
			"down, so stores may be missing: open it with PHEAP_CHECK_FIRST",
			path);
}

/* Step 3: of the heap's own copy, where it is open for reading only. */
static int recover_content(struct pheap *heap, const char *name, bool collect)
{
	struct ph_persist *pm = heap->readonly ? &heap->pm : &heap->media;
	struct ph_file none = {.fd = -1}, *file = heap->readonly ? &none : &heap->file;

	/* A crash while a pool is collected that was closed cleanly leaves some of the bits
	 * changed: of objects that nothing reaches. */
	if (heap->traced && (heap->recovered || collect))
		return heap->readonly || heap->media.hook
			       ? ph_traced_recover_own(pm, &heap->count, heap->view.base,
						       heap->view.size)
			       : ph_traced_recover(pm, &heap->count, file, name);
	/* Which also verifies the lanes of a pool that was closed cleanly. */
	return ph_recover(pm, &heap->count, file->fd < 0 ? NULL : file, heap->view.base,
			  heap->view.size, NULL);
}

/* Steps 2 to 5. */
static int recover(struct pheap *heap, const char *name, bool collect)
{
	struct pm_state *state = heap->state;
	int err = 0;

	heap->recovered = state->status != PM_STATUS_CLEAN;
	if (heap->readonly)
		return recover_content(heap, name, collect);
	/* D3, for a sparse copy of the file: what open itself touches. */
	err = ph_format_back(&heap->file);
	if (!err && state->status == PM_STATUS_PROCESS && heap->durability == PHEAP_POWER)
		err = ph_file_write_back(&heap->file, &heap->media, &heap->count);
	if (!err)
		err = recover_content(heap, name, collect);
	return err ? err : start_epoch(heap);
}

/* From a mapped file to a heap. */
static int attach(struct pheap *heap, const char *name, const struct pheap_options *opts)
{
	int err = ph_format_validate(heap->file.base, heap->file.size, name, &heap->super,
				     heap->readonly);

	heap->view = (struct pheap_view){.base = heap->file.base, .size = heap->file.size};
	heap->state = (struct pm_state *)(void *)(heap->file.base + PM_STATE);
	heap->traced = heap->super.incompat & PM_INCOMPAT_TRACED;
	if (!err && opts->flags & PHEAP_TRACED && !heap->traced)
		err = ph_error(EINVAL,
			       "%s: the pool is linked, not traced: that was chosen at create",
			       name);
	if (!err && opts->flags & PHEAP_COLLECT && !heap->traced)
		err = ph_error(EINVAL, "%s: a linked pool has pheap_gc() instead of PHEAP_COLLECT",
			       name);
	if (!err && opts->layout && strcmp(opts->layout, heap->super.layout))
		err = ph_error(EINVAL, "%s: the pool's layout is \"%s\", not \"%s\"", name,
			       heap->super.layout, opts->layout);
	if (!err)
		err = check_unflushed(heap, name, opts->flags);
	if (!err)
		err = recover(heap, name, opts->flags & PHEAP_COLLECT);
	return err ? err : ph_heap_attach(heap);
}

/* The end of every open: known to the process from now on, or undone as far as DRAM
 * is concerned. */
static pheap_t *finish(struct pheap *heap, int err)
{
	if (!err)
		err = ph_place_add(heap);
	if (!err) {
		ph_registry_add(heap);
		if (heap->types && !heap->readonly)
			ph_count_resume(heap);
		return heap;
	}
	ph_file_close(&heap->file);
	ph_heap_delete(heap);
	return ph_null_code(err);
}

PHEAP_API pheap_t *pheap_open(const char *path, const struct pheap_options *opts)
{
	PH_NO_CANCEL; /* files, here and in libpmem */
	struct pheap *heap;
	int err;

	if (!opts)
		opts = &defaults;
	err = check_options("pheap_open", opts);
	if (!err && (!path || opts->durability == PHEAP_VOLATILE))
		err = ph_error(EINVAL, "pheap_open: %s",
			       path ? "a volatile heap has no file: create it"
				    : "the path is NULL");
	heap = err ? ph_null_code(err) : ph_heap_new();
	if (!heap)
		return NULL;
	heap->readonly = opts->flags & PHEAP_READONLY;
	err = ph_file_open(&heap->file, path, heap->readonly);
	if (!err)
		err = ph_file_map(&heap->file, path);
	if (!err && heap->readonly) {
		heap->durability = PHEAP_PROCESS;
		heap->pm.backend = heap->media.backend = PH_NONE; /* a private mapping */
	} else if (!err) {
		err = choose_durability(heap, path, opts);
	}
	if (!err)
		err = attach(heap, path, opts);
	return finish(heap, err);
}

/* ---- create ------------------------------------------------------------------------------ */

static int check_create(const char *path, const struct pheap_options *opts)
{
	uint64_t size = opts->size;
	int err = check_options("pheap_create", opts);

	if (err)
		return err;
	if (!path != (opts->durability == PHEAP_VOLATILE))
		return ph_error(EINVAL, "pheap_create: %s",
				path ? "a volatile heap has no file: pass NULL as path"
				     : "the path is NULL");
	if (path && opts->memory)
		return ph_error(EINVAL, "pheap_create: memory is for volatile heaps only");
	if ((err = ph_volatile_check("pheap_create", opts->memory)))
		return err;
	if (!path && opts->flags & PHEAP_TRACED)
		return ph_error(EINVAL, "pheap_create: a volatile heap is not recovered, so it is "
					"not traced either");
	if (opts->flags & PHEAP_COLLECT)
		return ph_error(EINVAL, "pheap_create: a new pool has nothing to collect");
	if (opts->flags & PHEAP_READONLY)
		return ph_error(EINVAL, "pheap_create: a new pool cannot be read-only");
	if (size && (size < PHEAP_MIN_SIZE || size > PHEAP_MAX_SIZE))
		return ph_error(EINVAL, "pheap_create: %llu bytes: a pool has 8 MiB to 1 TiB",
				(unsigned long long)size);
	return 0;
}

static uint64_t pool_size(const struct pheap_options *opts)
{
	return opts->size ? opts->size / PM_GRANULE * PM_GRANULE : UINT64_C(64) << 20;
}

static int format_and_attach(struct pheap *heap, const char *name, const struct pheap_options *opts)
{
	struct ph_format_options format = {.layout = opts->layout ? opts->layout : "",
					   .traced = opts->flags & PHEAP_TRACED};
	int err = ph_format(&heap->media, &heap->count, &heap->file, &format);

	return err ? err : attach(heap, name, opts);
}

PHEAP_API pheap_t *pheap_create(const char *path, const struct pheap_options *opts)
{
	PH_NO_CANCEL;
	struct pheap *heap;
	int err;

	if (!opts)
		opts = &defaults;
	err = check_create(path, opts);
	heap = err ? ph_null_code(err) : ph_heap_new();
	if (!heap)
		return NULL;
	if (path) {
		err = ph_file_create(&heap->file, path, pool_size(opts),
				     opts->mode ? opts->mode : 0600);
		if (!err)
			err = ph_file_map(&heap->file, path);
		if (!err)
			err = choose_durability(heap, path, opts);
	} else {
		err = ph_volatile_map(heap, pool_size(opts), opts->memory);
		heap->durability = PHEAP_VOLATILE;
		heap->pm.backend = heap->media.backend = PH_VOLATILE;
	}
	if (!err)
		err = format_and_attach(heap, path ? path : "volatile heap", opts);
	if (!err && !path)
		err = ph_volatile_start(heap, opts->memory);
	if (!err && path)
		err = ph_file_sync(&heap->file, path);
	if (err && path && heap->file.fd >= 0)
		ph_file_discard(&heap->file, path);
	return finish(heap, err);
}

/* ---- on memory of the caller's ------------------------------------------------------------ */

static struct pheap *borrow(void *base, uint64_t size, const struct pheap_options *opts,
			    const struct ph_hook *hook, void *hook_arg)
{
	struct pheap *heap = ph_heap_new();

	if (!heap)
		return NULL;
	heap->file = (struct ph_file){.fd = -1, .base = base, .size = size, .borrowed = true};
	heap->readonly = opts->flags & PHEAP_READONLY;
	heap->media = (struct ph_persist){.backend = hook ? PH_HOOK : PH_NONE,
					  .hook = hook,
					  .hook_arg = hook_arg,
					  .pages = opts->flags & PHEAP_FORCE_MSYNC};
	heap->pm = heap->media;
	heap->durability = hook && opts->durability != PHEAP_PROCESS ? PHEAP_POWER : PHEAP_PROCESS;
	if (heap->durability == PHEAP_PROCESS)
		flush_nothing(&heap->pm);
	return heap;
}

static pheap_t *on_memory(void *base, uint64_t size, const struct pheap_options *opts,
			  const struct ph_hook *hook, void *hook_arg, bool create)
{
	struct pheap *heap;

	opts = opts ? opts : &defaults;
	heap = borrow(base, size, opts, hook, hook_arg);
	if (!heap)
		return NULL;
	return finish(heap, create ? format_and_attach(heap, "memory", opts)
				   : attach(heap, "memory", opts));
}

pheap_t *ph_pool_create_on(void *base, uint64_t size, const struct pheap_options *opts,
			   const struct ph_hook *hook, void *hook_arg)
{
	return on_memory(base, size, opts, hook, hook_arg, true);
}

pheap_t *ph_pool_open_on(void *base, uint64_t size, const struct pheap_options *opts,
			 const struct ph_hook *hook, void *hook_arg)
{
	return on_memory(base, size, opts, hook, hook_arg, false);
}

/* ---- close --------------------------------------------------------------------------------- */

void ph_pool_abandon(pheap_t *heap)
{
	ph_place_remove(heap); /* before another pool can be mapped there */
	ph_registry_remove(heap);
	ph_tcache_free_all(heap);
	ph_file_close(&heap->file);
	ph_heap_delete(heap);
}

static int settle_and_mark(struct pheap *heap)
{
	int err = ph_memory_check_size(&heap->file);

	if (!err)
		err = ph_checkpoint(heap);
	if (!err && heap->traced)
		ph_traced_write_bits(heap, &heap->count);
	if (!err && heap->durability == PHEAP_PROCESS)
		err = ph_file_write_back(&heap->file, &heap->media, &heap->count);
	if (!err && (heap->traced || heap->durability == PHEAP_PROCESS)) /* step 1 */
		err = ph_fence(&heap->media, &heap->count);
	if (err)
		return err;
	ph_store64(&heap->media, &heap->state->status, PM_STATUS_CLEAN);
	return ph_persist_range(&heap->media, &heap->count, heap->state, sizeof(*heap->state));
}

PHEAP_API int pheap_close(pheap_t *heap)
{
	PH_NO_CANCEL;
	int err = 0, found = 0;

	if (!heap)
		return 0;
	if ((err = ph_heap_usable(heap, "pheap_close")))
		return err;
	if (ph_tx_open(heap))
		return ph_error(EBUSY, "pheap_close: a transaction is open: commit or abort it");
	/* From now on no thread that ends finds the heap: it would give its cache back,
	 * and commit records into a pool that is marked clean. */
	ph_registry_remove(heap);
	if (ph_persist_error(&heap->pm))
		err = -EIO;
	else if (!heap->readonly && heap->durability != PHEAP_VOLATILE)
		err = settle_and_mark(heap);
	if (heap->debug)
		found = pheap_debug_check(heap);
	ph_pool_abandon(heap);
	if (!err)
		return found;
	return err != -EUCLEAN
		       ? ph_error(EIO,
				  "pheap_close: writing the pool back failed: it is not marked "
				  "clean, and is recovered at the next open")
		       : err;
}

/* ---- info ------------------------------------------------------------------------------------ */

static const char *const backends[] = {
	[PH_PMEM] = "pmem",	    [PH_MSYNC] = "msync",    [PH_NONE] = "none",
	[PH_VOLATILE] = "volatile", [PH_HOOK] = "simulator", [PH_HOOK_NONE] = "simulator, none",
};

PHEAP_API int pheap_get_info(pheap_t *heap, struct pheap_info *info)
{
	int err = ph_heap_usable(heap, "pheap_get_info");

	if (err)
		return err;
	if (!info || info->struct_size != sizeof(*info))
		return ph_error(EINVAL,
				"pheap_get_info: struct_size is not sizeof(struct pheap_info)");
	memset(info, 0, sizeof(*info));
	info->struct_size = sizeof(*info);
	info->size = heap->view.size;
	memcpy(info->uuid, heap->super.uuid, sizeof(info->uuid));
	memcpy(info->layout, heap->super.layout, sizeof(info->layout));
	info->format = heap->super.format;
	info->durability = heap->durability;
	info->backend = backends[heap->pm.backend];
	info->is_pmem = heap->file.is_pmem;
	info->recovered = heap->recovered;
	info->readonly = heap->readonly;
	info->granules = heap->zone.granules;
	info->traced = heap->traced;
	info->lanes = __atomic_load_n(&heap->nlanes, __ATOMIC_RELAXED);
	info->max_object = ph_format_max_object(heap->zone.granules - (uint32_t)info->lanes);
	return 0;
}
