/*
 * test-sum.c - the checksum: pinned vectors, an independent slow implementation,
 * and what it has to notice: any flipped bit, any torn record, another key,
 * another place.
 */
#include "common.h"

#include "sum.h"

#define WORDS 48

/* A 128-bit product by grade-school multiplication of bits: slow and plain. */
static uint64_t slow_fold(uint64_t a, uint64_t b)
{
	uint64_t low = 0, high = 0;
	unsigned i;

	for (i = 0; i < 64; i++) {
		uint64_t part = a << i, before = low;

		if (!(b >> i & 1))
			continue;
		low += part;
		high += (i ? a >> (64 - i) : 0) + (low < before);
	}
	return low ^ high;
}

/* The description in sum.h, one pair of words after the other. */
static uint64_t slow_sum(uint64_t key, uint64_t place, const uint64_t *w, size_t n)
{
	const uint64_t k0 = 0x9e3779b97f4a7c15, k1 = 0xbb67ae8584caa73b;
	const uint64_t k2 = 0x3c6ef372fe94f82b, k3 = 0xa54ff53a5f1d36f1;
	uint64_t seed = slow_fold(key ^ k0, place ^ k1);
	uint64_t turned = seed >> 32 | seed << 32;
	uint64_t acc = n * k2;
	size_t i;

	for (i = 0; i < n; i += 2) {
		uint64_t pair = i / 2 + 1, second = i + 1 < n ? w[i + 1] : 0;

		acc += slow_fold(w[i] ^ (seed + pair * k2), second ^ (turned + pair * k3));
	}
	acc = slow_fold(acc ^ k1, seed | 1);
	return acc ? acc : 1;
}

static void random_words(struct rng *rng, uint64_t *w, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		w[i] = rng_next(rng);
}

/* Computed once, outside of this program: the format must not drift. */
static void vectors(void **state)
{
	static const uint64_t w[5] = {1, 2, 3, 4, UINT64_MAX};

	(void)state;
	assert_true(ph_sum(0, 0, w, 0) == UINT64_C(0xf3970646c3977352));
	assert_true(ph_sum(0, 0, w, 1) == UINT64_C(0xd63f5c31319dee7c));
	assert_true(ph_sum(1, 4096, w, 2) == UINT64_C(0x179c6cee01f30cba));
	assert_true(ph_sum(UINT64_C(0x70686561702d7631), 0, w, 4) == UINT64_C(0x969a8b7d43321eb3));
	assert_true(ph_sum(UINT64_MAX, UINT64_MAX, w, 5) == UINT64_C(0x892c556599e7c562));
}

/* Those of docs/format.md: the words 1, 2, ..., n. */
static void documented_vectors(void **state)
{
	static const uint64_t w[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	static const uint64_t key = 0x70686561702d7631;

	(void)state;
	assert_true(ph_sum(key, 0x6000, w, 1) == UINT64_C(0x8f9f66b301622a8f));
	assert_true(ph_sum(key, 0x6000, w, 2) == UINT64_C(0x8bbb8349ce002775));
	assert_true(ph_sum(key, 0x6000, w, 7) == UINT64_C(0xfa6c2a5a43cfb468));
	assert_true(ph_sum(key, 0x6000, w, 8) == UINT64_C(0xd4cc4af3dbe991be));
	assert_true(ph_sum(UINT64_C(0x0123456789abcdef), 0x11000, w, 7) ==
		    UINT64_C(0xd205ae79f1980f9b));
	assert_true(ph_sum(0, 0, w, 8) == UINT64_C(0xd691b904cd77a4ee));
}

static void same_as_slow(void **state)
{
	struct rng rng = rng_make(1);
	uint64_t w[WORDS];
	unsigned round;

	(void)state;
	for (round = 0; round < 2000; round++) {
		size_t n = rng_below(&rng, WORDS + 1);
		uint64_t key = rng_next(&rng), place = rng_next(&rng) >> rng_below(&rng, 64);

		random_words(&rng, w, n);
		assert_true(ph_sum(key, place, w, n) == slow_sum(key, place, w, n));
		if (n >= 8) /* whole lines, of which the first word is the sum's place */
			assert_true(ph_sum_lines(key, place, w, n / 8) ==
				    slow_sum(key, place, w + 1, n / 8 * 8 - 1));
	}
}

static void every_bit_counts(void **state)
{
	struct rng rng = rng_make(2);
	uint64_t w[WORDS], key, sum;
	size_t n, bit;

	(void)state;
	for (n = 1; n <= WORDS; n++) {
		random_words(&rng, w, n);
		/* Real content is mostly zero. */
		if (n % 3 == 0)
			memset(w, 0, n / 2 * 8);
		key = rng_next(&rng);
		sum = ph_sum(key, n * 64, w, n);
		for (bit = 0; bit < n * 64; bit++) {
			w[bit / 64] ^= UINT64_C(1) << bit % 64;
			assert_true(ph_sum(key, n * 64, w, n) != sum);
			w[bit / 64] ^= UINT64_C(1) << bit % 64;
		}
	}
}

/*
 * A crash leaves some of the words of a record that was being written, and what
 * lay there before in the place of the others. Before: zero words, or an older
 * record of the same epoch, that may agree in many words.
 */
static void torn(void **state)
{
	struct rng rng = rng_make(3);
	uint64_t fresh[WORDS], old[WORDS], mix[WORDS], sum;
	unsigned round;
	size_t n, cut, i;

	(void)state;
	for (round = 0; round < 200; round++) {
		n = 1 + rng_below(&rng, WORDS);
		random_words(&rng, fresh, n);
		memcpy(old, fresh, sizeof(old));
		for (i = 0; i < n; i++)
			if (round % 3 == 0)
				old[i] = 0;
			else if (round % 3 == 1)
				old[i] = rng_next(&rng);
			else if (rng_below(&rng, 4) == 0)
				old[i] ^= UINT64_C(1) << rng_below(&rng, 64);
		sum = ph_sum(7, 64, fresh, n);
		for (cut = 0; cut < n; cut++) {
			memcpy(mix, old, n * 8);
			memcpy(mix, fresh, cut * 8);
			if (memcmp(mix, fresh, n * 8))
				assert_true(ph_sum(7, 64, mix, n) != sum);
			/* Any subset, too. */
			for (i = 0; i < n; i++)
				mix[i] = rng_below(&rng, 2) ? old[i] : fresh[i];
			if (memcmp(mix, fresh, n * 8))
				assert_true(ph_sum(7, 64, mix, n) != sum);
		}
	}
}

static void place_key_order_and_length(void **state)
{
	struct rng rng = rng_make(4);
	uint64_t w[WORDS], swapped[WORDS], key, sum;
	size_t n, i;

	(void)state;
	for (n = 2; n < WORDS; n++) {
		random_words(&rng, w, n);
		w[n] = 0;
		key = rng_next(&rng);
		sum = ph_sum(key, 64, w, n);
		for (i = 0; i < 64; i++) {
			assert_true(ph_sum(key ^ UINT64_C(1) << i, 64, w, n) != sum);
			assert_true(ph_sum(key, 64 ^ UINT64_C(1) << i, w, n) != sum);
		}
		/* Zero words behind do not extend it unseen. */
		assert_true(ph_sum(key, 64, w, n + 1) != sum);
		assert_true(ph_sum(key, 64, w, n - 1) != sum);
		for (i = 0; i + 1 < n; i++) {
			memcpy(swapped, w, sizeof(w));
			swapped[i] = w[i + 1];
			swapped[i + 1] = w[i];
			assert_true(ph_sum(key, 64, swapped, n) != sum);
		}
	}
}

static void never_zero(void **state)
{
	struct rng rng = rng_make(5);
	uint64_t w[WORDS] = {0};
	unsigned i;

	(void)state;
	for (i = 0; i < 10000; i++)
		assert_true(ph_sum(rng_next(&rng), i * 64, w, i % WORDS) != 0);
	/* The one case in which the last product is 0 for sure. */
	assert_true(slow_fold(0, 12345) == 0);
}

/* The remainder bit by bit, as docs/format.md puts it. */
static uint64_t slow_seal(uint64_t number)
{
	unsigned rest = 0;
	int bit;

	for (bit = 55; bit >= 0; bit--)
		rest = (rest << 1 & 0x3ff) ^ ((rest >> 9 & 1) != (number >> bit & 1) ? 0x233 : 0);
	return number << 10 | rest;
}

/* One or two flipped bits never go unnoticed, in the zero word neither. */
static void seals(void **state)
{
	const uint64_t numbers[] = {0, 1, 42, 1234567, UINT64_C(0x2aaaaaaaaaaaaa), PH_SEALED_MAX};
	uint64_t number;
	size_t i;
	int a, b;

	(void)state;
	assert_int_equal(ph_seal(0), 0);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uint64_t word = ph_seal(numbers[i]);

		assert_int_equal(word, slow_seal(numbers[i]));
		assert_true(ph_unseal(word, &number));
		assert_int_equal(number, numbers[i]);
		for (a = 0; a < 64; a++) {
			assert_false(ph_unseal(word ^ UINT64_C(1) << a, &number));
			for (b = 0; b < a; b++)
				assert_false(ph_unseal(word ^ UINT64_C(1) << a ^ UINT64_C(1) << b,
						       &number));
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),	cmocka_unit_test(documented_vectors),
		cmocka_unit_test(same_as_slow), cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(torn),		cmocka_unit_test(place_key_order_and_length),
		cmocka_unit_test(never_zero),	cmocka_unit_test(seals),
	};

	test_init(argc, argv);
	return cmocka_run_group_tests_name("sum", tests, NULL, NULL);
}
