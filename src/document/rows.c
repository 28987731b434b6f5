/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Where the rendered rows of a reader are: in memory, and in a temporary
 *	  file as far as they are more than hash_mem.
 *
 * Rows are put into chunks of memory one behind the other.  When the chunks
 * would exceed the limit, the rows of all levels are written to the file in
 * the order in which they will most likely be wanted, and the chunks are
 * freed.  What is left of a row in memory is a reference of eight bytes.
 * Rows that are read back are copied out of a cache of blocks.
 *
 * Memory is that of the reader's present run.  The file belongs to the
 * resource owner of the call that runs the reader: what an error leaves is
 * closed with the (sub)transaction, and must not be touched by a later run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "compat.h"
#include "document/level.h"

#define CHUNK_MIN ((Size) 8 * 1024)
#define CHUNK_MAX ((Size) 8 * 1024 * 1024)

/* The cache has a frame for each sorted run of the file, and at least these. */
#define FRAMES_MIN 64

typedef struct RowChunk
{
	struct RowChunk *next;
} RowChunk;

/* A block of the file in memory. */
typedef struct RowFrame
{
	int64		block;			/* or -1 */
	bool		used;			/* since the hand passed by */
	char	   *data;
} RowFrame;

struct RowFile
{
	BufFile    *file;
	MemoryContext context;
	uint64		size;
	int			nruns;

	/* for reading */
	int		   *frame_of_block;	/* or -1 */
	RowFrame   *frames;
	int			nframes;
	int			hand;
};

/* ------------------------------------------------------------------------
 * writing
 * ------------------------------------------------------------------------
 */

static Size
text_size(Level *level, const char *row)
{
	const int  *lengths = LEVEL_ROW_LENGTHS(level, row);
	Size		size = 0;

	for (int i = 0; i <= level->nholes; i++)
		size += lengths[i];
	return size;
}

static void
spill_row(Level *level, RowRef *ref)
{
	RowFile    *file = level->reader->file;
	char	   *row = (char *) (uintptr_t) *ref;
	Size		size = row_header_size(level) + text_size(level, row);

	BufFileWrite(file->file, row, size);
	*ref = ROW_SPILLED | file->size;
	file->size += size;
}

static int
match_compare(const void *a, const void *b, void *arg)
{
	const int  *keys = arg;
	Size		i = *(const Size *) a;
	Size		j = *(const Size *) b;

	if (keys[i] != keys[j])
		return keys[i] < keys[j] ? -1 : 1;
	return i < j ? -1 : i > j;
}

static void
order_by_counting(Level *level, Size first, Size *order, Size n, int nkeys)
{
	int		   *next = MemoryContextAllocExtended(level->reader->data,
												  (nkeys + 1) * sizeof(int),
												  MCXT_ALLOC_HUGE |
												  MCXT_ALLOC_ZERO);

	for (Size i = first; i < first + n; i++)
		next[level->match_keys[i] + 1]++;
	for (int key = 1; key < nkeys; key++)
		next[key] += next[key - 1];
	for (Size i = first; i < first + n; i++)
		order[next[level->match_keys[i]]++] = i;
	pfree(next);
}

/*
 * The rows that have come since the last time, by their keys: that is how
 * they are read back where each of them has one parent.
 */
static Size *
matches_by_key(Level *level, Size first)
{
	Size		n = level->nmatches - first;
	int			nkeys = level->njoin > 0 ? key_table_count(level->keys) : 1;
	Size	   *order = MemoryContextAllocHuge(level->reader->data,
											   n * sizeof(Size));
	bool		sorted = true;

	for (Size i = 0; i < n; i++)
	{
		order[i] = first + i;
		sorted &= i == 0 ||
			level->match_keys[first + i - 1] <= level->match_keys[first + i];
	}
	if (!sorted && n > nkeys / 8)
		order_by_counting(level, first, order, n, nkeys);
	else if (!sorted)
		qsort_arg(order, n, sizeof(Size), match_compare, level->match_keys);
	return order;
}

/* Writes what the level has in memory, and those below it. */
static void
spill_level(Level *level)
{
	if (level->rows != NULL && level->nmemory > 0)
	{
		for (Size i = 0; i < level->nmatches; i++)
		{
			if (!ROW_IS_SPILLED(level->rows[i]))
				spill_row(level, &level->rows[i]);
		}
	}
	else if (level->nmemory > 0)
	{
		Size		first = level->nmatches - level->nmemory;
		Size	   *order = matches_by_key(level, first);

		for (Size i = 0; i < level->nmemory; i++)
			spill_row(level, &level->match_rows[order[i]]);
		pfree(order);
	}
	level->nmemory = 0;
	for (int i = 0; i < level->nchildren; i++)
		spill_level(level->children[i]);
}

static void
spill(Reader *reader)
{
	MemoryContext old = MemoryContextSwitchTo(reader->data);

	CHECK_FOR_INTERRUPTS();
	if (reader->file == NULL)
	{
		reader->file = palloc0(sizeof(RowFile));
		reader->file->context = reader->data;
		reader->file->file = BufFileCreateTemp(false);
	}
	spill_level(reader->root);
	reader->file->nruns++;
	while (reader->chunks != NULL)
	{
		RowChunk   *chunk = reader->chunks;

		reader->chunks = chunk->next;
		pfree(chunk);
	}
	reader->chunks_size = 0;
	MemoryContextSwitchTo(old);
}

/* ------------------------------------------------------------------------
 * chunks
 * ------------------------------------------------------------------------
 */
char *
row_chunk_create(Reader *reader, Size size)
{
	Size		header = MAXALIGN(sizeof(RowChunk));
	Size		wanted = Min(reader->chunk_size * 2, CHUNK_MAX);
	RowChunk   *chunk;

	/* chunks that are not small beside the limit would leave much unused */
	wanted = Max(Min(wanted, reader->limit / 4), size + header);
	if (reader->chunks_size > 0 &&
		reader->chunks_size + wanted > reader->limit)
		spill(reader);
	chunk = MemoryContextAllocHuge(reader->data, wanted);
	chunk->next = reader->chunks;
	reader->chunks = chunk;
	reader->chunks_size += wanted;
	reader->chunk_size = wanted;
	reader->chunk = (char *) chunk + header;
	reader->chunk_left = wanted - header;
	return reader->chunk;
}

void
rows_begin(Reader *reader)
{
	reader->file = NULL;		/* what an error has left is closed */
	reader->chunks = NULL;
	reader->chunks_size = 0;
	reader->chunk = NULL;
	reader->chunk_left = 0;
	reader->chunk_size = CHUNK_MIN / 2;
	reader->limit = get_hash_memory_limit();
}

void
rows_end(Reader *reader)
{
	if (reader->file != NULL)
		BufFileClose(reader->file->file);
	reader->file = NULL;
}

/* ------------------------------------------------------------------------
 * reading back
 * ------------------------------------------------------------------------
 */
static void
file_prepare(RowFile *file, Size limit)
{
	int64		nblocks = file->size / BLCKSZ + 1;
	int64		nframes = limit / 2 / BLCKSZ;

	/* reading goes on in each run from where it was */
	nframes = Max(nframes, FRAMES_MIN + 2 * (int64) file->nruns);
	file->nframes = (int) Min(nframes, nblocks);
	file->frames = palloc0(file->nframes * sizeof(RowFrame));
	for (int i = 0; i < file->nframes; i++)
		file->frames[i].block = -1;
	file->frame_of_block = palloc_extended(nblocks * sizeof(int),
										   MCXT_ALLOC_HUGE);
	memset(file->frame_of_block, -1, nblocks * sizeof(int));
}

/* A frame that has not been used for a while. */
static int
free_frame(RowFile *file)
{
	for (;;)
	{
		int			i = file->hand;
		RowFrame   *frame = &file->frames[i];

		file->hand = (i + 1) % file->nframes;
		if (frame->used)
		{
			frame->used = false;
			continue;
		}
		if (frame->block >= 0)
			file->frame_of_block[frame->block] = -1;
		else if (frame->data == NULL)
			frame->data = MemoryContextAlloc(file->context, BLCKSZ);
		return i;
	}
}

static const char *
file_block(RowFile *file, int64 block)
{
	int			i = file->frame_of_block[block];
	RowFrame   *frame;
	Size		size;

	if (i < 0)
	{
		i = free_frame(file);
		frame = &file->frames[i];
		frame->block = -1;
		size = Min(file->size - block * BLCKSZ, BLCKSZ);
		if (BufFileSeekBlock(file->file, block) != 0 ||
			BufFileRead(file->file, frame->data, size) != size)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read a temporary file of documents")));
		frame->block = block;
		file->frame_of_block[block] = i;
	}
	file->frames[i].used = true;
	return file->frames[i].data;
}

static void
file_copy(RowFile *file, uint64 offset, char *to, Size size)
{
	while (size > 0)
	{
		Size		at = offset % BLCKSZ;
		Size		n = Min(size, BLCKSZ - at);

		memcpy(to, file_block(file, offset / BLCKSZ) + at, n);
		offset += n;
		to += n;
		size -= n;
	}
}

static void
enlarge_row_buffer(Level *level, Size size)
{
	if (size <= level->row_buffer_size)
		return;
	size = Max(size, 2 * level->row_buffer_size);
	level->row_buffer = level->row_buffer == NULL ?
		MemoryContextAllocHuge(level->reader->data, size) :
		repalloc_huge(level->row_buffer, size);
	level->row_buffer_size = size;
}

static RowFile *
readable_file(Reader *reader)
{
	RowFile    *file = reader->file;

	if (unlikely(file->frames == NULL))
	{
		MemoryContext old = MemoryContextSwitchTo(reader->data);

		file_prepare(file, reader->limit);
		MemoryContextSwitchTo(old);
	}
	return file;
}

/* Most rows are within one block, and need not be copied to be written out. */
void
row_append_text(Level *level, RowRef ref, StringInfo json)
{
	RowFile    *file = readable_file(level->reader);
	uint64		offset = ref & ~ROW_SPILLED;
	Size		at = offset % BLCKSZ;
	Size		header = row_header_size(level);
	int			text;
	const char *block;
	char	   *row;

	Assert(level->nholes == 0);
	if (at + header <= BLCKSZ)
	{
		block = file_block(file, offset / BLCKSZ);
		memcpy(&text, LEVEL_ROW_LENGTHS(level, block + at), sizeof(int));
		if (at + header + text <= BLCKSZ)
		{
			render_bytes(json, block + at + header, text);
			return;
		}
	}
	row = row_read_back(level, ref);
	render_bytes(json, LEVEL_ROW_TEXT(level, row),
				 LEVEL_ROW_LENGTHS(level, row)[0]);
}

char *
row_read_back(Level *level, RowRef ref)
{
	RowFile    *file = readable_file(level->reader);
	uint64		offset = ref & ~ROW_SPILLED;
	Size		header = row_header_size(level);
	Size		text;

	enlarge_row_buffer(level, header);
	file_copy(file, offset, level->row_buffer, header);
	text = text_size(level, level->row_buffer);
	enlarge_row_buffer(level, header + text);
	file_copy(file, offset + header, level->row_buffer + header, text);
	return level->row_buffer;
}
