/*
 * storelog.c - see storelog.h.
 */
#include "storelog.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 6
#define DEPTH_MAX 64
#define STORE_MAX 4096

struct mapping {
	uint64_t base, size, offset;
};

struct reader {
	struct storelog *log;
	struct mapping *maps; /* the newest last: an address may be mapped again */
	size_t n_maps;
	size_t record_room, data_used, data_room;
	const char *open[DEPTH_MAX]; /* sections */
	size_t depth;
	size_t number; /* of the record being read, from 1 */
	char *message;
	size_t message_size;
};

static bool __attribute__((format(printf, 2, 3))) refuse(struct reader *r, const char *format, ...)
{
	size_t used = 0;
	va_list ap;

	if (r->number)
		used = (size_t)snprintf(r->message, r->message_size, "record %zu: ", r->number);
	if (used < r->message_size) {
		va_start(ap, format);
		vsnprintf(r->message + used, r->message_size - used, format, ap);
		va_end(ap);
	}
	return false;
}

static void *grow(void *array, size_t *room, size_t need, size_t size)
{
	if (need > *room) {
		*room = *room ? *room * 2 : 1024;
		if (*room < need)
			*room = need;
		array = realloc(array, *room * size);
		if (!array)
			abort();
	}
	return array;
}

static struct record *add_record(struct reader *r, enum record_kind kind)
{
	struct storelog *log = r->log;

	log->records = grow(log->records, &r->record_room, log->n + 1, sizeof(*log->records));
	log->records[log->n] = (struct record){.kind = kind, .number = r->number};
	return &log->records[log->n++];
}

static bool read_number(struct reader *r, const char *field, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(field, &end, 16);
	if (end == field || *end || errno)
		return refuse(r, "'%s' is no number", field);
	return true;
}

/* Address and size: where in the pool? */
static bool read_range(struct reader *r, const char *address, const char *size,
		       struct record *record)
{
	uint64_t addr, length;
	size_t i;

	if (!read_number(r, address, &addr) || !read_number(r, size, &length))
		return false;
	for (i = r->n_maps; i-- > 0;) {
		const struct mapping *m = &r->maps[i];

		if (addr >= m->base && addr - m->base < m->size && length <= m->size &&
		    addr - m->base <= m->size - length) {
			record->offset = addr - m->base + m->offset;
			record->size = (uint32_t)length;
			return true;
		}
	}
	return refuse(r, "%s, %s bytes, is in no registered file", address, size);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number in text, as size little-endian bytes. Leading zeros may be missing. */
static bool read_value(struct reader *r, const char *text, uint32_t size)
{
	struct storelog *log = r->log;
	const char *digits = text, *end = text + strlen(text);
	uint8_t *data;
	uint32_t i;

	if (digits[0] == '0' && (digits[1] | 0x20) == 'x')
		digits += 2;
	if (digits == end || (size_t)(end - digits) > 2 * (size_t)size)
		return refuse(r, "'%s' is no value of %u bytes", text, size);
	log->data = grow(log->data, &r->data_room, r->data_used + size, 1);
	data = log->data + r->data_used;
	r->data_used += size;
	memset(data, 0, size);
	for (i = 0; end > digits; i++) {
		int digit = hex_digit(*--end);

		if (digit < 0)
			return refuse(r, "'%s' is no value", text);
		data[i / 2] |= (uint8_t)(digit << 4 * (i % 2));
	}
	return true;
}

static bool read_store(struct reader *r, char **field, size_t n)
{
	struct record *record;

	if (n < 4)
		return refuse(r, "a store needs address, value and size");
	record = add_record(r, RECORD_STORE);
	if (!read_range(r, field[1], field[3], record))
		return false;
	if (!record->size || record->size > STORE_MAX)
		return refuse(r, "a store of %s bytes", field[3]);
	record->nt = n > 4 && !strcmp(field[4], "NT");
	r->log->stores++;
	r->log->nt_stores += record->nt;
	return read_value(r, field[2], record->size);
}

static bool read_flush(struct reader *r, char **field, size_t n)
{
	struct record *record;

	if (n < 3)
		return refuse(r, "a flush needs address and size");
	record = add_record(r, RECORD_FLUSH);
	record->nt = n > 3 && !strcmp(field[3], "NT");
	r->log->flushes += !record->nt;
	return read_range(r, field[1], field[2], record);
}

static bool read_file(struct reader *r, char **field, size_t n)
{
	struct storelog *log = r->log;
	struct mapping m;

	if (n < 5)
		return refuse(r, "REGISTER_FILE needs path, base, size and offset");
	if (!read_number(r, field[2], &m.base) || !read_number(r, field[3], &m.size) ||
	    !read_number(r, field[4], &m.offset))
		return false;
	if (log->pool && strcmp(log->pool, field[1]))
		return refuse(r, "a second file, %s: trace one pool at a time", field[1]);
	log->pool = field[1];
	r->maps = realloc(r->maps, (r->n_maps + 1) * sizeof(*r->maps));
	if (!r->maps)
		abort();
	r->maps[r->n_maps++] = m;
	return true;
}

static bool read_section(struct reader *r, char *text)
{
	char *dot = strrchr(text, '.');

	if (dot && !strcmp(dot, ".BEGIN")) {
		*dot = 0;
		if (r->depth == DEPTH_MAX)
			return refuse(r, "sections nested more than %d deep", DEPTH_MAX);
		r->open[r->depth++] = text;
		add_record(r, RECORD_BEGIN)->name = text;
		return true;
	}
	if (dot && !strcmp(dot, ".END")) {
		*dot = 0;
		if (!r->depth || strcmp(r->open[r->depth - 1], text))
			return refuse(r, "%s.END does not end the last section begun", text);
		r->depth--;
		r->log->sections++;
		add_record(r, RECORD_END)->name = text;
		return true;
	}
	return refuse(r, "'%s' is unknown", text);
}

static bool read_record(struct reader *r, char *text)
{
	char *field[FIELDS_MAX], *save, *part;
	size_t n = 0;

	for (part = strtok_r(text, ";", &save); part && n < FIELDS_MAX;
	     part = strtok_r(NULL, ";", &save))
		field[n++] = part;
	if (!n)
		return true;
	if (!strcmp(field[0], "STORE"))
		return read_store(r, field, n);
	if (!strcmp(field[0], "FLUSH"))
		return read_flush(r, field, n);
	if (!strcmp(field[0], "REGISTER_FILE"))
		return read_file(r, field, n);
	if (strcmp(field[0], "FENCE"))
		return read_section(r, field[0]);
	add_record(r, RECORD_FENCE);
	r->log->fences++;
	return true;
}

static bool is_stop(const char *text)
{
	return strcspn(text, "|\r\n") == 4 && !strncmp(text, "STOP", 4);
}

/* The records between START and STOP. */
static bool read_records(struct reader *r)
{
	char *text = strstr(r->log->text, "START"), *next;

	if (!text)
		return refuse(r, "no START: this is not a store log");
	next = strrchr(text, '|');
	if (!next || !is_stop(next + 1))
		return refuse(r, "no STOP: the traced program was killed, or the log is cut off");
	for (text = strchr(text, '|') + 1; !is_stop(text); text = next + 1) {
		next = strchr(text, '|');
		*next = 0;
		r->number++;
		if (!read_record(r, text))
			return false;
	}
	return true;
}

/* Offsets of data are stable only now: the array has moved while it grew. */
static void place_data(struct storelog *log)
{
	const uint8_t *data = log->data;
	size_t i;

	for (i = 0; i < log->n; i++) {
		if (log->records[i].kind != RECORD_STORE)
			continue;
		log->records[i].data = data;
		data += log->records[i].size;
	}
}

static bool read_text(struct reader *r, const char *path)
{
	FILE *file = fopen(path, "r");
	long length;
	bool ok;

	if (!file)
		return refuse(r, "%s", strerror(errno));
	fseek(file, 0, SEEK_END);
	length = ftell(file);
	rewind(file);
	r->log->text = calloc(1, length < 0 ? 1 : (size_t)length + 1);
	if (!r->log->text)
		abort();
	ok = length >= 0 && fread(r->log->text, 1, (size_t)length, file) == (size_t)length;
	fclose(file);
	return ok || refuse(r, "cannot read it");
}

bool storelog_read(struct storelog *log, const char *path, char *message, size_t message_size)
{
	struct reader r = {.log = log, .message = message, .message_size = message_size};
	bool ok;

	*log = (struct storelog){0};
	ok = read_text(&r, path) && read_records(&r);
	r.number = 0;
	if (ok && !log->pool)
		ok = refuse(&r, "no REGISTER_FILE: no pool was mapped while it was traced");
	if (ok && !log->stores)
		ok = refuse(&r, "no store: nothing was written to %s", log->pool);
	if (ok && r.depth)
		ok = refuse(&r, "section %s does not end", r.open[r.depth - 1]);
	if (ok)
		place_data(log);
	free(r.maps);
	return ok;
}

void storelog_free(struct storelog *log)
{
	free(log->records);
	free(log->data);
	free(log->text);
}
