/*
 * sum.h - the checksum of records, undo entries, superblocks and zones.
 *
 * A keyed multiply-and-fold over pairs of 64-bit words. The key is the epoch and
 * the place is the media offset of what is summed, so that bytes of an earlier
 * epoch, of another place or of a copied log are never valid. The products are
 * independent of each other: a line of eight words costs about three
 * nanoseconds, and needs no instruction beyond a 64-bit multiplication.
 *
 * Normative in docs/format.md, section "Checksum".
 */
#ifndef PH_SUM_H
#define PH_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 ph_uint128;

/* What is summed was stored as fields of other types. */
typedef uint64_t __attribute__((may_alias)) ph_sum_word;

static inline uint64_t ph_fold(uint64_t a, uint64_t b)
{
	ph_uint128 product = (ph_uint128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Odd constants with well mixed bits: fractional parts of the golden ratio, of
 * the square roots of 3, 5 and 7. */
#define PH_SUM_K0 UINT64_C(0x9e3779b97f4a7c15)
#define PH_SUM_K1 UINT64_C(0xbb67ae8584caa73b)
#define PH_SUM_K2 UINT64_C(0x3c6ef372fe94f82b)
#define PH_SUM_K3 UINT64_C(0xa54ff53a5f1d36f1)

#define PH_SUM_PAIR(x, y) (a += PH_SUM_K2, b += PH_SUM_K3, acc += ph_fold((x) ^ a, (y) ^ b))

/* The sum of n words at w. Never 0, so that zeroed media is never valid. */
static inline uint64_t ph_sum(uint64_t key, uint64_t place, const ph_sum_word *w, size_t n)
{
	uint64_t seed = ph_fold(key ^ PH_SUM_K0, place ^ PH_SUM_K1);
	uint64_t acc = n * PH_SUM_K2;
	uint64_t a = seed, b = seed >> 32 | seed << 32;

	for (; n >= 2; w += 2, n -= 2)
		PH_SUM_PAIR(w[0], w[1]);
	if (n)
		PH_SUM_PAIR(w[0], 0);
	acc = ph_fold(acc ^ PH_SUM_K1, seed | 1);
	return acc ? acc : 1;
}

/* The same of so many whole lines at w, 1 at least, without the first word, in which
 * records and undo entries keep their sum. */
static inline uint64_t ph_sum_lines(uint64_t key, uint64_t place, const ph_sum_word *w,
				    size_t lines)
{
	uint64_t seed = ph_fold(key ^ PH_SUM_K0, place ^ PH_SUM_K1);
	uint64_t acc = (lines * 8 - 1) * PH_SUM_K2;
	uint64_t a = seed, b = seed >> 32 | seed << 32;

	for (; lines > 1; w += 8, lines--) {
		PH_SUM_PAIR(w[1], w[2]);
		PH_SUM_PAIR(w[3], w[4]);
		PH_SUM_PAIR(w[5], w[6]);
		PH_SUM_PAIR(w[7], w[8]);
	}
	PH_SUM_PAIR(w[1], w[2]);
	PH_SUM_PAIR(w[3], w[4]);
	PH_SUM_PAIR(w[5], w[6]);
	PH_SUM_PAIR(w[7], 0);
	acc = ph_fold(acc ^ PH_SUM_K1, seed | 1);
	return acc ? acc : 1;
}

/*
 * A sealed word: a number of 54 bits, and below it a CRC of ten bits (polynomial
 * x^10 + x^9 + x^5 + x^4 + x + 1, its 56 bits from the highest on). It changes with one
 * 8-byte store, and one or two flipped bits, or an odd number of them, are noticed.
 * The zero word is the number 0.
 */
#define PH_SEAL_BITS 10
#define PH_SEALED_MAX (UINT64_MAX >> PH_SEAL_BITS)

extern const uint16_t ph_seal_table[256];

static inline uint64_t ph_seal(uint64_t number)
{
	unsigned crc = 0;

	for (int shift = 48; shift >= 0; shift -= 8)
		crc = (crc << 8 ^ ph_seal_table[crc >> 2 ^ (number >> shift & 0xff)]) & 0x3ff;
	return number << PH_SEAL_BITS | crc;
}

/* False: damaged. */
static inline bool ph_unseal(uint64_t word, uint64_t *number)
{
	*number = word >> PH_SEAL_BITS;
	return word == ph_seal(*number);
}

#endif
