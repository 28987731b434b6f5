/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  Reading documents: one statement for each level, stitched by hash.
 *
 * The root's rows are read first.  Each row is rendered as it comes, into
 * memory that grows by big chunks, with holes for the levels below; the keys
 * that it has for those are numbered in hash tables.  Then each level below
 * is read by the keys of the level above it, its rows are put into the order
 * of their keys by a counting sort, and in the end the documents are written
 * out from the root down.
 *
 * Memory: a run holds the rendered rows of all levels until it ends.  Locks
 * are those of the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "document/level.h"
#include "session/session.h"

/* Takes the rows of a level. */
typedef struct LevelReceiver
{
	DestReceiver pub;
	Level	   *level;
} LevelReceiver;

#define CHUNK_MIN ((Size) 8 * 1024)
#define CHUNK_MAX ((Size) 8 * 1024 * 1024)

/* With fewer keys than this a level is always read by its keys. */
#define ALL_MIN_KEYS 1000

/* ------------------------------------------------------------------------
 * memory
 * ------------------------------------------------------------------------
 */
static char *
chunk_alloc(Reader *reader, Size size)
{
	char	   *result;

	size = MAXALIGN(size);
	if (size > reader->chunk_left)
	{
		reader->chunk_size = Min(reader->chunk_size * 2, CHUNK_MAX);
		reader->chunk_left = Max(reader->chunk_size, size);
		reader->chunk = MemoryContextAllocHuge(reader->data,
											   reader->chunk_left);
	}
	result = reader->chunk;
	reader->chunk += size;
	reader->chunk_left -= size;
	return result;
}

/* The level's array of rows as they come, with room for one more. */
static void
matches_enlarge(Level *level)
{
	Size		size;

	if (level->nmatches < level->allocated)
		return;
	level->allocated = Max(64, level->allocated * 2);
	size = level->allocated * sizeof(LevelMatch);
	if (level->matches == NULL)
		level->matches = MemoryContextAllocHuge(level->reader->data, size);
	else
		level->matches = repalloc_huge(level->matches, size);
}

static void
level_reset(Level *level)
{
	level->rows = NULL;
	level->starts = NULL;
	level->matches = NULL;
	level->nmatches = 0;
	level->allocated = 0;
	if (level->keys != NULL)
		key_table_reset(level->keys);
	for (int i = 0; i < level->nchildren; i++)
		level_reset(level->children[i]);
}

static void
reader_reset(Reader *reader)
{
	level_reset(reader->root);
	MemoryContextReset(reader->data);
	MemoryContextReset(reader->scratch);
	reader->chunk = NULL;
	reader->chunk_left = 0;
	reader->chunk_size = CHUNK_MIN / 2;
}

/* ------------------------------------------------------------------------
 * rendering a row
 * ------------------------------------------------------------------------
 */
static void
render_text(Level *level, const Datum *values, const bool *nulls,
			StringInfo buffer, int *lengths)
{
	int			begin = buffer->len;
	int			hole = 0;

	for (int i = 0; i < level->nsteps; i++)
	{
		LevelStep  *step = &level->steps[i];

		appendBinaryStringInfo(buffer, step->prefix, step->prefix_length);
		if (step->kind != STEP_VALUE)
		{
			lengths[hole++] = buffer->len - begin;
			begin = buffer->len;
		}
		else if (nulls[step->column])
			appendBinaryStringInfo(buffer, "null", 4);
		else
			render_value(step->renderer, values[step->column], buffer);
	}
	lengths[hole] = buffer->len - begin;
}

static void
append_uint32(StringInfo buffer, uint32 value)
{
	value = pg_hton32(value);
	appendBinaryStringInfo(buffer, (char *) &value, sizeof(value));
}

/*
 * 128 bits of the hash function that hash indexes are made with: it stays the
 * same from version to version, and costs a fraction of a cryptographic one.
 */
static void
make_digest(const char *data, int length, char *digest)
{
	for (int i = 0; i < LEVEL_DIGEST_LENGTH / sizeof(uint64); i++)
	{
		uint64		part = hash_bytes_extended((const unsigned char *) data,
											   length, i + 1);

		part = pg_hton64(part);
		memcpy(digest + i * sizeof(uint64), &part, sizeof(uint64));
	}
}

/* The digest of the row's own values: each with its length before it. */
static void
render_digest(Level *level, const Datum *values, const bool *nulls,
			  char *digest)
{
	StringInfo	buffer = &level->reader->buffer;
	int			begin = buffer->len;
	int			nest_level = level->stable_checks ? 0 :
	canonical_settings_begin();

	for (int i = 0; i < level->nchecks; i++)
	{
		LevelCheck *check = &level->checks[i];
		int			at = buffer->len;
		uint32		length;

		if (check->child != NULL)
			continue;
		append_uint32(buffer, PG_UINT32_MAX);
		if (nulls[check->column])
			continue;
		render_canonical(check->renderer, values[check->column], buffer);
		length = pg_hton32((uint32) (buffer->len - at - sizeof(uint32)));
		memcpy(buffer->data + at, &length, sizeof(uint32));
	}
	if (nest_level > 0)
		canonical_settings_end(nest_level);
	make_digest(buffer->data + begin, buffer->len - begin, digest);
	buffer->len = begin;
	buffer->data[begin] = '\0';
}

/* The number of the key that the row has for a level below, or -1. */
static int
child_key(Level *child, const Datum *values, const bool *nulls)
{
	Datum		key[INDEX_MAX_KEYS];

	for (int i = 0; i < child->njoin; i++)
	{
		int			column = child->joins[i].parent_column;

		if (nulls[column])
			return -1;
		key[i] = values[column];
	}
	return key_table_add(child->keys, key);
}

static void
take_row(Level *level, int key, const Datum *values, const bool *nulls)
{
	Reader	   *reader = level->reader;
	MemoryContext old = MemoryContextSwitchTo(reader->scratch);
	StringInfo	buffer = &reader->buffer;
	char	   *row;

	resetStringInfo(buffer);
	render_text(level, values, nulls, buffer, level->lengths);
	row = chunk_alloc(reader, LEVEL_ROW_TEXT(level, (char *) 0) - (char *) 0 +
					  buffer->len);
	for (int i = 0; i < level->nchildren; i++)
		LEVEL_ROW_KEYS(level, row)[i] = child_key(level->children[i], values,
												  nulls);
	memcpy(LEVEL_ROW_LENGTHS(level, row), level->lengths,
		   (level->nholes + 1) * sizeof(int));
	memcpy(LEVEL_ROW_TEXT(level, row), buffer->data, buffer->len);
	if (level->digest)
		render_digest(level, values, nulls, LEVEL_ROW_DIGEST(level, row));

	matches_enlarge(level);
	level->matches[level->nmatches].key = key;
	level->matches[level->nmatches++].row = row;
	MemoryContextSwitchTo(old);
	MemoryContextReset(reader->scratch);
}

/* ------------------------------------------------------------------------
 * reading a level
 * ------------------------------------------------------------------------
 */
static bool
level_receive(TupleTableSlot *slot, DestReceiver *self)
{
	Level	   *level = ((LevelReceiver *) self)->level;
	int			key = 0;

	slot_getallattrs(slot);
	for (int i = 0; i < level->njoin; i++)
	{
		if (slot->tts_isnull[i])
			return true;
	}
	if (level->njoin > 0)
	{
		key = key_table_find(level->keys, slot->tts_values);
		if (key < 0)
			return true;
	}
	take_row(level, key, slot->tts_values + level->njoin,
			 slot->tts_isnull + level->njoin);
	return true;
}

static Composition *
level_get_composition(Level *level, LevelSource source)
{
	if (level->compositions[source] == NULL)
		level->compositions[source] = level_composition(level, source);
	return level->compositions[source];
}

static void
level_execute(Level *level, LevelSource source, DestReceiver *dest)
{
	Composition *composition = level_get_composition(level, source);
	KeptStatement *kept = kept_statement_get(composition);
	Datum	   *values;
	char	   *nulls;

	kept_statement_bind(kept, composition, &values, &nulls);
	own_statement_read(kept->plan, values, nulls, dest);
}

static void
level_read(Level *level, LevelSource source)
{
	LevelReceiver receiver = {.level = level};

	receiver.pub = *None_Receiver;
	receiver.pub.receiveSlot = level_receive;
	level_execute(level, source, &receiver.pub);
}

/* How many rows a relation may have, or -1. */
static double
relation_rows(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	BlockNumber pages;
	double		rows = -1;
	double		all_visible;

	if (RELKIND_HAS_TABLE_AM(rel->rd_rel->relkind))
		estimate_rel_size(rel, NULL, &pages, &rows, &all_visible);
	else if (rel->rd_rel->reltuples > 0)
		rows = rel->rd_rel->reltuples;
	table_close(rel, NoLock);
	return rows;
}

/* Are most of the rows of the level wanted? */
static bool
level_wants_all(Level *level)
{
	Relationship *relationship = level->field->relationship;
	int			nkeys = key_table_count(level->keys);
	double		rows;

	if (nkeys < ALL_MIN_KEYS)
		return false;
	rows = relation_rows(relationship->direction == RELATIONSHIP_MANY_TO_ONE ?
						 relationship->target : relationship->owner);
	return rows >= 0 && nkeys >= rows / 4;
}

/* Puts the rows into the order of their keys, those of a key as they came. */
static void
level_sort(Level *level)
{
	Reader	   *reader = level->reader;
	int			nkeys = key_table_count(level->keys);
	int		   *next;

	level->starts = MemoryContextAllocExtended(reader->data,
											   (nkeys + 2) * sizeof(int),
											   MCXT_ALLOC_HUGE |
											   MCXT_ALLOC_ZERO);
	level->rows = MemoryContextAllocHuge(reader->data,
										 (level->nmatches + 1) *
										 sizeof(char *));
	if (level->nmatches > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many rows of %s", level->model->class_name)));
	/* starts[k + 1] counts, then says where key k goes on, then where it ends */
	next = level->starts + 1;
	for (Size i = 0; i < level->nmatches; i++)
		level->starts[level->matches[i].key + 2]++;
	for (int key = 0; key < nkeys; key++)
		level->starts[key + 1] += level->starts[key];
	for (Size i = 0; i < level->nmatches; i++)
		level->rows[next[level->matches[i].key]++] = level->matches[i].row;
	pfree(level->matches);
	level->matches = NULL;
}

static void
level_set_keys(Level *level)
{
	MemoryContext old = MemoryContextSwitchTo(level->reader->data);
	int			i = 0;
	ListCell   *cell;

	(void) level_get_composition(level, SOURCE_KEYS);
	foreach(cell, level->key_values[SOURCE_KEYS])
		((Value *) lfirst(cell))->datum = key_table_array(level->keys, i++);
	MemoryContextSwitchTo(old);
}

/* Reads what is below a level whose rows are there. */
static void
level_read_children(Level *level)
{
	for (int i = 0; i < level->nchildren; i++)
	{
		Level	   *child = level->children[i];

		if (key_table_count(child->keys) == 0)
			continue;
		if (level_wants_all(child))
			level_read(child, SOURCE_ALL);
		else
		{
			level_set_keys(child);
			level_read(child, SOURCE_KEYS);
		}
		if (child->nmatches == 0)
			continue;
		level_sort(child);
		level_read_children(child);
	}
}

/* ------------------------------------------------------------------------
 * etags
 * ------------------------------------------------------------------------
 */
static void
child_range(Level *child, char *parent_row, Level *parent, int *begin,
			int *end)
{
	int			key = LEVEL_ROW_KEYS(parent, parent_row)[child->number];

	*begin = *end = 0;
	if (key < 0 || child->rows == NULL)
		return;
	*begin = child->starts[key];
	*end = child->starts[key + 1];
	if (child->to_one)
		*end = Min(*end, *begin + 1);
}

static int
digest_compare(const void *a, const void *b)
{
	return memcmp(a, b, LEVEL_DIGEST_LENGTH);
}

/*
 * The digest of a row and all that is checked below it.  Those of children
 * are put into an order of their own, since the rows' may be any.
 */
static void
row_digest(Level *level, char *row, char *digest)
{
	StringInfoData buffer;
	bool		has_children = false;

	memcpy(digest, LEVEL_ROW_DIGEST(level, row), LEVEL_DIGEST_LENGTH);
	for (int i = 0; i < level->nchecks; i++)
		has_children |= level->checks[i].child != NULL;
	if (!has_children)
		return;

	check_stack_depth();
	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, digest, LEVEL_DIGEST_LENGTH);
	for (int i = 0; i < level->nchecks; i++)
	{
		Level	   *child = level->checks[i].child;
		int			begin,
					end,
					at;

		if (child == NULL)
			continue;
		child_range(child, row, level, &begin, &end);
		append_uint32(&buffer, end - begin);
		at = buffer.len;
		for (int j = begin; j < end; j++)
		{
			char		child_digest[LEVEL_DIGEST_LENGTH];

			row_digest(child, child->rows[j], child_digest);
			appendBinaryStringInfo(&buffer, child_digest, LEVEL_DIGEST_LENGTH);
		}
		qsort(buffer.data + at, end - begin, LEVEL_DIGEST_LENGTH,
			  digest_compare);
	}
	make_digest(buffer.data, buffer.len, digest);
	pfree(buffer.data);
}

static void
row_etag(Level *level, char *row, char *etag)
{
	static const char hex[] = "0123456789abcdef";
	char		digest[LEVEL_DIGEST_LENGTH];

	row_digest(level, row, digest);
	for (int i = 0; i < LEVEL_DIGEST_LENGTH; i++)
	{
		etag[2 * i] = hex[(digest[i] >> 4) & 0xF];
		etag[2 * i + 1] = hex[digest[i] & 0xF];
	}
	etag[2 * LEVEL_DIGEST_LENGTH] = '\0';
}

/* ------------------------------------------------------------------------
 * writing out
 * ------------------------------------------------------------------------
 */
static void write_fields(Level *level, char *row, StringInfo json);

static void
write_object(Level *level, char *row, StringInfo json)
{
	appendStringInfoCharMacro(json, '{');
	write_fields(level, row, json);
	appendStringInfoCharMacro(json, '}');
}

static void
write_child(Level *level, char *row, LevelStep *step, StringInfo json)
{
	Level	   *child = step->child;
	int			begin,
				end;

	child_range(child, row, level, &begin, &end);
	if (step->unnest && begin < end)
		write_fields(child, child->rows[begin], json);
	else if (step->unnest)
		appendStringInfoString(json, step->null_text);
	else if (child->to_one && begin < end)
		write_object(child, child->rows[begin], json);
	else if (child->to_one)
		appendStringInfoString(json, "null");
	else
	{
		appendStringInfoCharMacro(json, '[');
		for (int i = begin; i < end; i++)
		{
			if (i > begin)
				appendStringInfoCharMacro(json, ',');
			write_object(child, child->rows[i], json);
		}
		appendStringInfoCharMacro(json, ']');
	}
}

static void
write_etag(Level *level, char *row, StringInfo json)
{
	char		etag[ETAG_LENGTH];

	row_etag(level, row, etag);
	appendStringInfo(json, "\"%s\"", etag);
}

static void
write_fields(Level *level, char *row, StringInfo json)
{
	const char *text = LEVEL_ROW_TEXT(level, row);
	const int  *lengths = LEVEL_ROW_LENGTHS(level, row);
	int			hole = 0;

	if (level->nholes > 0)
	{
		check_stack_depth();
		for (int i = 0; i < level->nsteps; i++)
		{
			LevelStep  *step = &level->steps[i];

			if (step->kind == STEP_VALUE)
				continue;
			appendBinaryStringInfo(json, text, lengths[hole]);
			text += lengths[hole++];
			if (step->kind == STEP_CHILD)
				write_child(level, row, step, json);
			else
				write_etag(level, row, json);
		}
	}
	appendBinaryStringInfo(json, text, lengths[hole]);
}

static void
write_document(Reader *reader, char *row, StringInfo json, DocumentSink sink,
			   void *arg)
{
	char		etag[ETAG_LENGTH];

	CHECK_FOR_INTERRUPTS();
	resetStringInfo(json);
	write_object(reader->root, row, json);
	if (reader->request.etag)
		row_etag(reader->root, row, etag);
	sink(arg, json, reader->request.etag ? etag : NULL);
}

static void
write_documents(Reader *reader, DocumentSink sink, void *arg)
{
	Level	   *root = reader->root;
	StringInfoData json;

	initStringInfo(&json);
	for (Size i = 0; i < root->nmatches; i++)
		write_document(reader, root->matches[i].row, &json, sink, arg);
	pfree(json.data);
}

/* ------------------------------------------------------------------------
 * readers
 * ------------------------------------------------------------------------
 */
Reader *
reader_create(const ReaderRequest *request)
{
	Reader	   *reader = palloc0(sizeof(Reader));

	reader->request = *request;
	reader->context = CurrentMemoryContext;
	reader->data = AllocSetContextCreate(reader->context,
										 "pg_orm documents",
										 ALLOCSET_DEFAULT_SIZES);
	reader->scratch = AllocSetContextCreate(reader->context,
											"pg_orm document row",
											ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&reader->buffer);
	reader->generation = model_generation();
	reader->root = level_create(reader, request->selection, NULL, NULL,
								request->etag);
	return reader;
}

bool
reader_is_valid(Reader *reader)
{
	return reader->generation == model_generation();
}

static void
level_prepare(Level *level, LevelSource source)
{
	Composition *composition = level_get_composition(level, source);
	KeptStatement *kept = kept_statement_get(composition);
	Datum	   *values;
	char	   *nulls;

	kept_statement_bind(kept, composition, &values, &nulls);
	for (int i = 0; i < level->nchildren; i++)
		level_prepare(level->children[i], SOURCE_KEYS);
}

void
reader_check(Reader *reader)
{
	level_prepare(reader->root, SOURCE_CRITERIA);
}

void
reader_run(Reader *reader, DocumentSink sink, void *arg)
{
	reader_reset(reader);
	level_read(reader->root, SOURCE_CRITERIA);
	level_read_children(reader->root);
	write_documents(reader, sink, arg);
	reader_reset(reader);
}

bool
reader_run_key(Reader *reader, const Datum *key, DocumentSink sink, void *arg)
{
	Level	   *root = reader->root;
	int			i = 0;
	bool		found;
	ListCell   *cell;

	reader_reset(reader);
	(void) level_get_composition(root, SOURCE_KEY);
	foreach(cell, root->key_values[SOURCE_KEY])
		((Value *) lfirst(cell))->datum = key[i++];
	level_read(root, SOURCE_KEY);
	found = root->nmatches > 0;
	level_read_children(root);
	write_documents(reader, sink, arg);
	reader_reset(reader);
	return found;
}

/* The number of the first of the keys that no row has, or -1. */
static int
first_missing(Level *root, int n, const int *numbers)
{
	for (int i = 0; i < n; i++)
	{
		if (root->rows == NULL ||
			root->starts[numbers[i]] == root->starts[numbers[i] + 1])
			return i;
	}
	return -1;
}

int
reader_run_keys(Reader *reader, int n, Datum **keys, DocumentSink sink,
				void *arg)
{
	Level	   *root = reader->root;
	int		   *numbers = palloc(n * sizeof(int));
	int			missing;
	StringInfoData json;

	Assert(reader->request.by_keys);
	reader_reset(reader);
	for (int i = 0; i < n; i++)
		numbers[i] = key_table_add(root->keys, keys[i]);
	level_set_keys(root);
	level_read(root, SOURCE_KEYS);
	if (root->nmatches > 0)
		level_sort(root);
	missing = first_missing(root, n, numbers);
	if (missing < 0)
	{
		level_read_children(root);
		initStringInfo(&json);
		for (int i = 0; i < n; i++)
			write_document(reader, root->rows[root->starts[numbers[i]]], &json,
						   sink, arg);
		pfree(json.data);
	}
	reader_reset(reader);
	pfree(numbers);
	return missing;
}

/* ------------------------------------------------------------------------
 * a given row
 * ------------------------------------------------------------------------
 */

/* Takes what a given row does not have by itself. */
typedef struct OutputsReceiver
{
	DestReceiver pub;
	Level	   *level;
	Datum	   *values;
	bool	   *nulls;
} OutputsReceiver;

static bool
outputs_receive(TupleTableSlot *slot, DestReceiver *self)
{
	OutputsReceiver *receiver = (OutputsReceiver *) self;
	Level	   *level = receiver->level;
	int			n = 0;

	slot_getallattrs(slot);
	for (int i = 0; i < level->ncolumns; i++)
	{
		if (level_column_is_plain(&level->columns[i]))
			continue;
		receiver->values[i] = slot->tts_values[n];
		receiver->nulls[i] = slot->tts_isnull[n++];
	}
	/* they live as long as the slot */
	take_row(level, 0, receiver->values, receiver->nulls);
	return true;
}

static bool
all_columns_are_plain(Level *level)
{
	for (int i = 0; i < level->ncolumns; i++)
	{
		if (!level_column_is_plain(&level->columns[i]))
			return false;
	}
	return true;
}

static void
row_columns(Level *level, HeapTupleHeader row, Datum *values, bool *nulls)
{
	TupleDesc	tupdesc = level->model->tupdesc;
	HeapTupleData tuple = {0};

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	tuple.t_data = row;
	for (int i = 0; i < level->ncolumns; i++)
	{
		LevelColumn *column = &level->columns[i];

		if (level_column_is_plain(column))
			values[i] = heap_getattr(&tuple, column->attnum, tupdesc,
									 &nulls[i]);
	}
}

void
reader_run_row(Reader *reader, HeapTupleHeader row, DocumentSink sink,
			   void *arg)
{
	Level	   *root = reader->root;
	OutputsReceiver receiver = {.level = root};

	reader_reset(reader);
	receiver.values = palloc(root->ncolumns * sizeof(Datum) + 1);
	receiver.nulls = palloc(root->ncolumns * sizeof(bool) + 1);
	row_columns(root, row, receiver.values, receiver.nulls);
	if (all_columns_are_plain(root))
		take_row(root, 0, receiver.values, receiver.nulls);
	else
	{
		receiver.pub = *None_Receiver;
		receiver.pub.receiveSlot = outputs_receive;
		(void) level_get_composition(root, SOURCE_ROW);
		((Value *) linitial(root->key_values[SOURCE_ROW]))->datum =
			PointerGetDatum(row);
		level_execute(root, SOURCE_ROW, &receiver.pub);
	}
	level_read_children(root);
	write_documents(reader, sink, arg);
	reader_reset(reader);
}
