/*
 * log.c - see log.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "log.h"

#include "pub_tool_libcassert.h"
#include "pub_tool_libcbase.h"
#include "pub_tool_libcfile.h"
#include "pub_tool_libcprint.h"
#include "pub_tool_vki.h"

/* The file is open while a buffer is written, so that no descriptor is in the way of
 * the program, which may count them or close them all. */
static const HChar *file; /* NULL: no log */
static HChar buffer[1 << 16];
static Int used;

static void write_out(void)
{
	Int fd = VG_(fd_open)(file, VKI_O_WRONLY | VKI_O_APPEND, 0);
	Int done = 0, n = fd;

	for (; n >= 0 && done < used; done += n)
		n = VG_(write)(fd, buffer + done, used - done);
	if (n < 0) {
		VG_(umsg)("cannot write %s\n", file);
		VG_(exit)(2);
	}
	VG_(close)(fd);
	used = 0;
}

static void put(const HChar *text)
{
	if (!file)
		return;
	for (; *text; text++) {
		if (used == (Int)sizeof(buffer))
			write_out();
		buffer[used++] = *text;
	}
}

static void put_number(ULong value)
{
	HChar text[24];

	VG_(sprintf)(text, ";0x%llx", value);
	put(text);
}

Bool log_open(const HChar *path)
{
	Int fd = VG_(fd_open)(path, VKI_O_CREAT | VKI_O_TRUNC | VKI_O_WRONLY, 0666);

	if (fd < 0)
		return False;
	VG_(close)(fd);
	file = path;
	put("START");
	return True;
}

void log_close(void)
{
	if (!file)
		return;
	put("|STOP\n");
	write_out();
	file = NULL;
}

void log_drop(void)
{
	used = 0;
	file = NULL;
}

void log_file(const HChar *path, Addr base, SizeT size, ULong offset)
{
	put("|REGISTER_FILE;");
	put(path);
	put_number(base);
	put_number(size);
	put_number(offset);
}

void log_store(Addr addr, const UChar *bytes, SizeT size, Bool nt)
{
	HChar value[2 * 64 + 4];
	HChar *at = value;
	SizeT i;

	tl_assert(size > 0 && size <= 64);
	put("|STORE");
	put_number(addr);
	at += VG_(sprintf)(at, ";0x");
	for (i = size; i-- > 0;)
		at += VG_(sprintf)(at, "%02x", (UInt)bytes[i]);
	put(value);
	put_number(size);
	if (!nt)
		return;
	put(";NT|FLUSH");
	put_number(addr);
	put_number(size);
	put(";NT");
}

void log_flush(Addr addr, SizeT size)
{
	put("|FLUSH");
	put_number(addr);
	put_number(size);
}

void log_fence(void)
{
	put("|FENCE");
}

void log_mark(const HChar *text)
{
	HChar one[2] = {0};

	put("|");
	for (; *text; text++) {
		one[0] = *text == '|' || *text == '\n' || *text == '\r' ? '_' : *text;
		put(one);
	}
}
