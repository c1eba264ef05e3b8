/*
 * layout.h - every structure on media, and nothing volatile.
 *
 * The normative description is docs/format.md; the static asserts below and
 * tests/unit/test-layout.c pin it. All integers are little-endian. "Offset" is a
 * byte offset from the start of the pool; reserved fields are zero, and checked.
 *
 *	      0  superblock A                4 KiB
 *	   4096  superblock B                4 KiB
 *	   8192  state line, rest reserved   4 KiB
 *	  12288  root table: 64 entries      4 KiB
 *	  16384  lane table: 1024 offsets    8 KiB
 *	  24576  zone table: 64 entries      4 KiB
 *	  28672  type table: 512 entries  32 KiB
 *	  61440  chains of dead objects    4 KiB
 *	  65536  zone 0: free-space tree | span descriptors | bitmaps | granules
 */
#ifndef PH_LAYOUT_H
#define PH_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define PM_LINE 64u /* what a flush writes back; stores of one line stay in order */
#define PM_PAGE 4096u
#define PM_GRANULE_SHIFT 16
#define PM_GRANULE 65536u /* unit in which spans are carved out of a zone */

#define PM_SUPER_A 0u
#define PM_SUPER_B 4096u
#define PM_STATE 8192u
#define PM_ROOTS 12288u
#define PM_LANE_TABLE 16384u
#define PM_ZONE_TABLE 24576u
#define PM_TYPE_TABLE 28672u
#define PM_TYPE_END 61440u
#define PM_DEAD 61440u
#define PM_FIXED_END 65536u

#define PM_ROOT_SLOTS 64u /* entry 0 is the unnamed root */
#define PM_LANES_MAX 1024u
#define PM_ZONES_MAX 64u
#define PM_TYPES 512u			/* entry 0 is not used: the id of no type */
#define PM_ZONE_GRANULES_MAX (1u << 24) /* 1 TiB */

/* "PHEAP", then bytes that a text-mode transfer would mangle. */
#define PM_MAGIC UINT64_C(0x0a0d1a5041454850)
/* In the place of the magic number until create has finished. */
#define PM_MAGIC_CREATING UINT64_C(0x0a0d1a5741454850)
#define PM_FORMAT 1u

/* Features this version knows. An unknown incompat bit forbids opening, an
 * unknown ro_compat bit forbids writing, an unknown compat bit nothing. */
#define PM_COMPAT_KNOWN UINT64_C(0)
#define PM_RO_COMPAT_KNOWN UINT64_C(0)
#define PM_INCOMPAT_TRACED UINT64_C(1) /* while the pool is in use, bitmaps mean nothing */
#define PM_INCOMPAT_KNOWN PM_INCOMPAT_TRACED

/*
 * Superblock. Two copies, A and B, updated one after the other, each durable
 * before the next is begun; the valid one with the larger sequence counts.
 */
struct pm_super {
	uint64_t magic;
	uint64_t sum; /* ph_sum() of the words behind it; key PM_SUM_KEY, place: offset */
	uint32_t format;
	uint32_t bytes; /* sizeof(struct pm_super) */
	uint64_t sequence;
	uint64_t compat;
	uint64_t incompat;
	uint64_t ro_compat;
	uint8_t uuid[16];
	uint64_t size;	/* bytes of the pool */
	uint32_t zones; /* entries of the zone table in use */
	uint32_t reserved0;
	uint64_t created; /* seconds since 1970 */
	char layout[64];  /* NUL-terminated, rest zero */
	uint64_t reserved[44];
};
_Static_assert(sizeof(struct pm_super) == 512, "superblock");
_Static_assert(offsetof(struct pm_super, uuid) == 56, "superblock");
_Static_assert(offsetof(struct pm_super, layout) == 96, "superblock");

/*
 * State line: what changes while the pool is in use. One line, stored in the
 * order boot_id (with PROCESS), status, epoch, so that a crash leaves a prefix of these.
 */
struct pm_state {
	uint64_t epoch;	  /* sealed (sum.h), random; the word is the key of all logs */
	uint64_t settled; /* sealed; records with a stamp up to this are dead */
	uint64_t status;  /* enum pm_status */
	uint8_t boot_id[16];
	uint64_t reserved[3];
};
_Static_assert(sizeof(struct pm_state) == PM_LINE, "state line");
_Static_assert(offsetof(struct pm_state, status) == 16, "state line");

enum pm_status {
	PM_STATUS_CLEAN = 1,   /* closed cleanly: no live record, no live undo entry */
	PM_STATUS_POWER = 2,   /* open for writing, durable stores are flushed */
	PM_STATUS_PROCESS = 3, /* open for writing, nothing is flushed; see boot_id */
};

/* A root. Entry 0 has no name; the others are in use where name[0] is not 0. */
struct pm_root {
	char name[48];
	uint64_t reserved;
	uint64_t ref;
};
_Static_assert(sizeof(struct pm_root) == PM_LINE, "root");
_Static_assert(offsetof(struct pm_root, ref) == 56, "root");

/* Where a zone lies. Offsets are multiples of PM_PAGE, data of PM_GRANULE. */
struct pm_zone {
	uint64_t tree; /* free-space tree */
	uint64_t desc; /* span descriptors, one a granule */
	uint64_t bits; /* bitmaps, PM_BITMAP_BYTES a granule */
	uint64_t data; /* granules */
	uint32_t granules;
	uint32_t levels; /* of the tree: 2^levels >= granules */
	uint64_t reserved[2];
	uint64_t sum; /* ph_sum() of the seven words before it; key and place likewise */
};
_Static_assert(sizeof(struct pm_zone) == PM_LINE, "zone");

/*
 * A registered type. Its descriptor is a published object without a type: the struct
 * below, the name, NUL-terminated and padded with zeros to a multiple of 8, then nrefs
 * words of 32 bits. Each is the offset of a reference, in ascending order, plus 1 where
 * that is a weak one. Entry and descriptor never change.
 */
struct pm_type {
	uint64_t ref;  /* of the descriptor; 0: the entry is not used, and all zero */
	uint64_t size; /* of an object, or of an element of an array */
	uint32_t version;
	uint32_t flags; /* enum pm_type_flags */
	uint32_t nrefs;
	uint32_t bytes; /* of the descriptor */
	uint64_t reserved[3];
	uint64_t sum; /* ph_sum() of the seven words before it; key PM_SUM_KEY, place: offset */
};
_Static_assert(sizeof(struct pm_type) == PM_LINE, "type");
_Static_assert(PM_TYPE_TABLE + PM_TYPES * sizeof(struct pm_type) == PM_TYPE_END, "type table");

enum pm_type_flags {
	PM_TYPE_ARRAY = 1,    /* objects are arrays of elements */
	PM_TYPE_COUNTED = 2,  /* references to them are counted */
	PM_TYPE_CALLBACK = 4, /* only the program knows where their references are */
};
#define PM_TYPE_FLAGS 7u
#define PM_TYPE_NAME_MAX 64u
#define PM_TYPE_REFS_MAX 1024u
#define PM_TYPE_WEAK 1u /* bit 0 of an offset */

struct pm_descriptor {
	uint64_t sum; /* of the words behind it, up to pm_type.bytes; place: offset */
	char name[];
};

/*
 * Free-space tree: a complete binary tree over the granules of a zone, padded
 * to 2^levels with granules that are taken for ever. A node at depth d stands
 * for 2^(levels-d) granules. Its byte is 0 where nothing below is free, else 1 +
 * the order of the largest free, naturally aligned block below it. A node whose
 * byte is 0 or levels-d+1 is *uniform*; what lies below a uniform node has no
 * meaning and is not read.
 *
 * Nodes are packed in lines of five depths below a common parent; byte
 * 2 <= i < 64 of a line is node i of the binary heap whose node 1 is the parent.
 * Byte 1 of the first line is the root of the tree; byte 0, and byte 1 of the
 * others, are zero. The first line holds ((levels - 1) % 5) + 1 depths, the
 * others five; lines are stored row by row.
 */
#define PM_TREE_DEPTHS 5u

/*
 * Span descriptor: one a granule; that of a span's first granule describes the
 * span, the others are zero.
 */
struct pm_span {
	uint8_t kind;	    /* enum pm_kind */
	uint8_t size_class; /* slabs */
	uint16_t flags;	    /* enum pm_span_flags */
	uint32_t granules;  /* in the span */
	uint32_t type;	    /* registered type of its objects; 0: none */
	uint32_t reserved0;
	uint64_t side; /* offset of side metadata; 0: none */
	uint64_t size; /* bytes of one object */
	uint64_t reserved[4];
};
_Static_assert(sizeof(struct pm_span) == PM_LINE, "span descriptor");

enum pm_span_flags {
	PM_SPAN_COUNTED = 1, /* there is a count of references for each object: side */
};
#define PM_SPAN_FLAGS 1u

/*
 * Counts: a word an object, of counted types. Where a slab has few objects, or one, in the
 * bitmap area of its first granule, behind the bits; else at the end of the slab, which has
 * one granule then, and less objects: as many as leave room for a word each, in whole
 * lines. pm_span.side is the offset of the first.
 *
 *	alive	weak references << 44 | strong references, 1 at least
 *	dead	1 << 63 | weak references << 44 | next
 *
 * next, of an object in a chain: offset of the next one / 8, or 0. Drained: all bits are 1.
 * A chain begins with a word at PM_DEAD, one in each of the first lines there.
 */
#define PM_COUNT_IN_BITS 56u	 /* objects at most */
#define PM_COUNT_BITS_OFFSET 64u /* bytes behind the first bit */
#define PM_COUNT_TAIL(objects) (((objects)*8u + PM_LINE - 1) / PM_LINE * PM_LINE)
#define PM_COUNT_WEAK_SHIFT 44
#define PM_COUNT_STRONG_MAX ((UINT64_C(1) << PM_COUNT_WEAK_SHIFT) - 1)
#define PM_COUNT_WEAK_MAX ((UINT64_C(1) << 19) - 1)
#define PM_COUNT_DEAD (UINT64_C(1) << 63)
#define PM_COUNT_DRAINED PM_COUNT_STRONG_MAX
#define PM_DEAD_CHAINS 16u

enum pm_kind {
	PM_KIND_NONE = 0,
	PM_KIND_SLAB = 1,  /* objects of one size; one bit each in the bitmap */
	PM_KIND_LARGE = 2, /* one object; its bit says whether it is published */
	PM_KIND_LANE = 3,  /* a lane block */
};

/*
 * Bitmap of a slab: bit i is 1 where object i is published. It begins at the
 * bitmap area of the slab's first granule. A large span has one, of one bit. Bits beyond the last
 * object, and those of granules in no slab, are zero.
 */
#define PM_BITMAP_BYTES 512u
#define PM_OBJECT_MIN 16u /* PM_GRANULE / (8 * PM_BITMAP_BYTES) */
_Static_assert(PM_GRANULE / PM_OBJECT_MIN == 8 * PM_BITMAP_BYTES, "bitmap");

/*
 * Lane block: one granule. Undo logs take the head line and the area of the
 * same index.
 *
 *	    0  pm_undo_head[PM_UNDO_LOGS], rest of the page zero
 *	 4096  ring, PM_RING_LINES lines
 *	20480  undo areas, PM_UNDO_AREA bytes each
 */
#define PM_UNDO_LOGS 4u
#define PM_RING_LINES 256u
#define PM_LANE_RING 4096u
#define PM_LANE_UNDO (PM_LANE_RING + PM_RING_LINES * PM_LINE)
#define PM_UNDO_AREA 11264u
_Static_assert(PM_LANE_UNDO + PM_UNDO_LOGS * PM_UNDO_AREA == PM_GRANULE, "lane block");

struct pm_undo_head {
	uint64_t ended; /* sealed (sum.h); generations up to this one have ended */
	uint64_t epoch; /* in which the log was used last; sealed as all epochs are */
	uint64_t reserved[6];
};
_Static_assert(sizeof(struct pm_undo_head) == PM_LINE, "undo head");

/*
 * Redo record: a whole number of ring lines (at most PM_RECORD_LINES_MAX); it
 * may run over the end of the ring and go on at its start. The header is
 * followed by entries; zero words fill the rest.
 */
struct pm_record {
	uint64_t sum;	/* ph_sum() of the words behind it; key: epoch, place: offset */
	uint64_t stamp; /* stamp << PM_STAMP_SHIFT | lines */
	uint64_t prev;	/* stamp of the lane's record before it in this epoch, or 0 */
};
_Static_assert(sizeof(struct pm_record) == 24, "record");
#define PM_RECORD_WORDS 3u
#define PM_STAMP_SHIFT 10
#define PM_RECORD_LINES_MAX (PM_RING_LINES / 2)

/*
 * Entry of a record: a word type << 56 | aux << 48 | offset, and operands. All
 * are absolute, hence idempotent.
 */
enum pm_entry {
	PM_ENTRY_END = 0,     /* only zero words follow */
	PM_ENTRY_WORD = 1,    /* offset multiple of 8; operand: value */
	PM_ENTRY_BYTES = 2,   /* aux + 1 bytes; operands: they, padded to 8 with zeros */
	PM_ENTRY_ZERO = 3,    /* operand: length in bytes */
	PM_ENTRY_BIT_SET = 4, /* bit aux (0..63) of the word at offset */
	PM_ENTRY_BIT_CLEAR = 5,
	PM_ENTRY_EXTENSION = 6, /* operands: words, sum. More entries at offset:
				 * ph_sum() of them, key: epoch, place: offset */
};
#define PM_ENTRY(type, aux, offset) \
	((uint64_t)(type) << 56 | (uint64_t)(aux) << 48 | (uint64_t)(offset))
#define PM_ENTRY_TYPE(word) ((unsigned)((word) >> 56))
#define PM_ENTRY_AUX(word) ((unsigned)((word) >> 48 & 0xff))
#define PM_ENTRY_OFFSET(word) ((word)&UINT64_C(0xffffffffffff))

/*
 * Undo entry: whole lines, from the start of the log's area on. Live where its
 * sum holds in the current epoch and gen > ended. DATA is followed by the old
 * bytes; NEXT says where the log goes on, and is the last of its area.
 */
struct pm_undo {
	uint64_t sum; /* of the words behind it, data included; key: epoch ^ offset of the
		       * log's head, place: offset of the entry */
	uint64_t gen;
	uint64_t seq;	 /* number within the generation, from 0, in the low half; in the
			  * high half that of the first entry under the same fence */
	uint64_t target; /* enum pm_undo_type << 56 | offset */
	uint64_t length; /* bytes of data, or of the next area */
};
_Static_assert(sizeof(struct pm_undo) == 40, "undo entry");

enum pm_undo_type {
	PM_UNDO_DATA = 1,
	PM_UNDO_NEXT = 2,
};

/* Bytes of data in one undo entry at most, so that it fills a page. */
#define PM_UNDO_DATA_MAX (PM_PAGE - sizeof(struct pm_undo))

/* Key of the sums that do not depend on an epoch. */
#define PM_SUM_KEY UINT64_C(0x70686561702d7631)

#endif
