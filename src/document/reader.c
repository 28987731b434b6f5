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
 * Memory: a run holds the rendered rows of all levels until it ends, in memory
 * or in a file (rows.c).  Locks are those of the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
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

/* With fewer keys than this a level is always read by its keys. */
#define ALL_MIN_KEYS 1000

/* ------------------------------------------------------------------------
 * memory
 * ------------------------------------------------------------------------
 */
static inline char *
row_alloc(Reader *reader, Size size)
{
	char	   *result;

	size = MAXALIGN(size);
	if (size > reader->chunk_left)
		(void) row_chunk_create(reader, size);
	result = reader->chunk;
	reader->chunk += size;
	reader->chunk_left -= size;
	return result;
}

static void *
enlarge_array(Level *level, void *array, Size element)
{
	return array == NULL ?
		MemoryContextAllocHuge(level->reader->data,
							   level->allocated * element) :
		repalloc_huge(array, level->allocated * element);
}

/* The level's arrays of rows as they come, with room for one more. */
static void
matches_enlarge(Level *level)
{
	if (level->nmatches < level->allocated)
		return;
	level->allocated = Max(64, level->allocated * 2);
	level->match_keys = enlarge_array(level, level->match_keys, sizeof(int));
	level->match_rows = enlarge_array(level, level->match_rows,
									  sizeof(RowRef));
	if (level->order_column >= 0)
		level->match_orders = enlarge_array(level, level->match_orders,
											sizeof(int64));
}

static void
level_reset(Level *level)
{
	level->rows = NULL;
	level->starts = NULL;
	level->match_keys = NULL;
	level->match_rows = NULL;
	level->match_orders = NULL;
	level->out_of_order = false;
	level->nmatches = 0;
	level->allocated = 0;
	level->nmemory = 0;
	level->row_buffer = NULL;
	level->row_buffer_size = 0;
	if (level->keys != NULL)
		key_table_reset(level->keys);
	for (int i = 0; i < level->nchildren; i++)
		level_reset(level->children[i]);
}

static void
reader_begin(Reader *reader)
{
	reader->running = true;
	level_reset(reader->root);
	MemoryContextReset(reader->data);
	MemoryContextReset(reader->scratch);
	reader->sink = NULL;
	rows_begin(reader);
}

void
reader_forget(Reader *reader)
{
	if (reader->running)
		reader_begin(reader);
	reader->running = false;
}

/* The end of a run without an error. */
static void
reader_end(Reader *reader)
{
	rows_end(reader);
	reader_forget(reader);
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

	if (!level->unnest)
		render_char(buffer, '{');
	for (int i = 0; i < level->nsteps; i++)
	{
		LevelStep  *step = &level->steps[i];

		render_bytes(buffer, step->prefix, step->prefix_length);
		if (step->kind != STEP_VALUE)
		{
			lengths[hole++] = buffer->len - begin;
			begin = buffer->len;
		}
		else if (nulls[step->column])
			render_bytes(buffer, "null", 4);
		else
			render_value(step->renderer, values[step->column], buffer);
	}
	if (!level->unnest)
		render_char(buffer, '}');
	lengths[hole] = buffer->len - begin;
}

void
append_uint32(StringInfo buffer, uint32 value)
{
	value = pg_hton32(value);
	appendBinaryStringInfo(buffer, (char *) &value, sizeof(value));
}

void
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

/* Notes a row that has been rendered. */
static void
note_row(Level *level, int key, char *row, const Datum *values)
{
	Size		n = level->nmatches;

	matches_enlarge(level);
	level->match_keys[n] = key;
	level->match_rows[n] = (RowRef) (uintptr_t) row;
	if (level->order_column >= 0)
	{
		int64		order = integer_of_datum(values[level->order_column],
											 level->columns[level->order_column].typid);

		level->match_orders[n] = order;
		if (n > 0 && order < level->match_orders[n - 1])
			level->out_of_order = true;
	}
	level->nmatches++;
	level->nmemory++;
}

void
digest_to_hex(const char *digest, char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < LEVEL_DIGEST_LENGTH; i++)
	{
		hex[2 * i] = digits[(digest[i] >> 4) & 0xF];
		hex[2 * i + 1] = digits[digest[i] & 0xF];
	}
	hex[2 * LEVEL_DIGEST_LENGTH] = '\0';
}

/* A document that is nothing but the row need not wait for others. */
static void
hand_over(Level *level, const Datum *values, const bool *nulls)
{
	Reader	   *reader = level->reader;
	char		digest[LEVEL_DIGEST_LENGTH];
	char		etag[ETAG_LENGTH];

	if (reader->request.etag)
	{
		render_digest(level, values, nulls, digest);
		digest_to_hex(digest, etag);
	}
	render_end(&reader->buffer);
	reader->sink(reader->sink_arg, &reader->buffer,
				 reader->request.etag ? etag : NULL);
}

/* Keeps a row that has been rendered. */
static inline void
keep_row(Level *level, int key, const Datum *values, const bool *nulls)
{
	StringInfo	buffer = &level->reader->buffer;
	char	   *row = row_alloc(level->reader,
								row_header_size(level) + buffer->len);

	for (int i = 0; i < level->nchildren; i++)
		LEVEL_ROW_KEYS(level, row)[i] = child_key(level->children[i], values,
												  nulls);
	memcpy(LEVEL_ROW_LENGTHS(level, row), level->lengths,
		   (level->nholes + 1) * sizeof(int));
	memcpy(LEVEL_ROW_TEXT(level, row), buffer->data, buffer->len);
	if (level->digest)
		render_digest(level, values, nulls, LEVEL_ROW_DIGEST(level, row));
	note_row(level, key, row, values);
}

static void
take_row(Level *level, int key, const Datum *values, const bool *nulls)
{
	Reader	   *reader = level->reader;
	MemoryContext old = MemoryContextSwitchTo(reader->scratch);

	resetStringInfo(&reader->buffer);
	render_text(level, values, nulls, &reader->buffer, level->lengths);
	if (reader->sink == NULL)
		keep_row(level, key, values, nulls);
	else
	{
		hand_over(level, values, nulls);
		level->nmatches++;
	}
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

/*
 * It is pinned for as long as the reader lives.  That of criteria may be of
 * one run only, for which whoever gets it has it.
 */
static KeptStatement *
level_get_statement(Level *level, LevelSource source)
{
	KeptStatement *kept = level->statements[source];

	if (kept == NULL)
	{
		kept = kept_statement_get(level_get_composition(level, source));
		if (source != SOURCE_CRITERIA)
			kept_statement_pin(kept, level->reader->context);
		level->statements[source] = kept;
	}
	return kept;
}

static void
level_execute(Level *level, LevelSource source, DestReceiver *dest)
{
	Composition *composition = level_get_composition(level, source);
	KeptStatement *kept = level_get_statement(level, source);
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
	Relation	rel = relation_open_existing(relid);
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

static void
level_set_keys(Level *level, LevelSource source)
{
	MemoryContext old = MemoryContextSwitchTo(level->reader->data);
	int			i = 0;
	ListCell   *cell;

	(void) level_get_composition(level, source);
	foreach(cell, level->key_values[source])
	{
		((Value *) lfirst(cell))->datum = source == SOURCE_ONE ?
			key_table_value(level->keys, 0, i) :
			key_table_array(level->keys, i);
		i++;
	}
	MemoryContextSwitchTo(old);
}

/* Reads what is below a level whose rows are there. */
static void
level_read_children(Level *level)
{
	for (int i = 0; i < level->nchildren; i++)
	{
		Level	   *child = level->children[i];
		LevelSource source;

		if (key_table_count(child->keys) == 0)
			continue;
		if (level_wants_all(child))
			source = SOURCE_ALL;
		else
		{
			/* to one, it makes no difference but for one more statement */
			source = key_table_count(child->keys) == 1 && !child->to_one ?
				SOURCE_ONE : SOURCE_KEYS;
			level_set_keys(child, source);
		}
		level_read(child, source);
		if (child->nmatches == 0)
			continue;
		level_sort(child);
		level_read_children(child);
	}
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
	reader->root = level_create(reader, request->selection, NULL, NULL,
								request->etag);
	return reader;
}

void
reader_set_criteria(Reader *reader, const ReaderRequest *criteria)
{
	ReaderRequest *request = &reader->request;

	request->filter = criteria->filter;
	request->filter_by = criteria->filter_by;
	request->order_by = criteria->order_by;
	request->has_limit = criteria->has_limit;
	request->limit = criteria->limit;
	request->has_offset = criteria->has_offset;
	request->offset = criteria->offset;
	reader->root->compositions[SOURCE_CRITERIA] = NULL;
	reader->root->statements[SOURCE_CRITERIA] = NULL;
}

Selection *
reader_selection(Reader *reader)
{
	return reader->request.selection;
}

static void
level_prepare(Level *level, LevelSource source)
{
	Composition *composition = level_get_composition(level, source);
	KeptStatement *kept = level_get_statement(level, source);
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

static void
reader_hand_over_to(Reader *reader, DocumentSink sink, void *arg)
{
	if (reader->root->nchildren > 0 || reader->root->nholes > 0)
		return;
	reader->sink = sink;
	reader->sink_arg = arg;
}

void
reader_run(Reader *reader, DocumentSink sink, void *arg)
{
	reader_begin(reader);
	reader_hand_over_to(reader, sink, arg);
	level_read(reader->root, SOURCE_CRITERIA);
	level_read_children(reader->root);
	write_documents(reader, sink, arg);
	reader_end(reader);
}

bool
reader_run_key(Reader *reader, const Datum *key, DocumentSink sink, void *arg)
{
	Level	   *root = reader->root;
	int			i = 0;
	bool		found;
	ListCell   *cell;

	reader_begin(reader);
	reader_hand_over_to(reader, sink, arg);
	(void) level_get_composition(root, SOURCE_KEY);
	foreach(cell, root->key_values[SOURCE_KEY])
		((Value *) lfirst(cell))->datum = key[i++];
	level_read(root, SOURCE_KEY);
	found = root->nmatches > 0;
	level_read_children(root);
	write_documents(reader, sink, arg);
	reader_end(reader);
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

/* ------------------------------------------------------------------------
 * rows that are known already
 * ------------------------------------------------------------------------
 */
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
row_columns(Level *level, HeapTuple row, Datum *values, bool *nulls)
{
	TupleDesc	tupdesc = level->model->tupdesc;

	for (int i = 0; i < level->ncolumns; i++)
	{
		LevelColumn *column = &level->columns[i];

		if (level_column_is_plain(column))
			values[i] = heap_getattr(row, column->attnum, tupdesc,
									 &nulls[i]);
	}
}

/* Takes the rows of the root, of those keys, which are known already. */
static void
root_take_rows(Level *root, int n, const int *numbers, HeapTuple *rows)
{
	Datum	   *values = palloc(root->ncolumns * sizeof(Datum) + 1);
	bool	   *nulls = palloc(root->ncolumns * sizeof(bool) + 1);

	for (int i = 0; i < n; i++)
	{
		/* a key may be there twice */
		if (numbers[i] < root->nmatches)
			continue;
		row_columns(root, rows[i], values, nulls);
		take_row(root, numbers[i], values, nulls);
	}
}

int
reader_run_keys(Reader *reader, int n, Datum **keys, HeapTuple *rows,
				DocumentSink sink, void *arg)
{
	Level	   *root = reader->root;
	int		   *numbers = palloc(n * sizeof(int));
	int			missing;
	StringInfoData json;

	Assert(reader->request.by_keys);
	reader_begin(reader);
	for (int i = 0; i < n; i++)
		numbers[i] = key_table_add(root->keys, keys[i]);
	if (rows != NULL && all_columns_are_plain(root))
		root_take_rows(root, n, numbers, rows);
	else
	{
		level_set_keys(root, SOURCE_KEYS);
		level_read(root, SOURCE_KEYS);
	}
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
	reader_end(reader);
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

void
reader_run_row(Reader *reader, HeapTupleHeader row, DocumentSink sink,
			   void *arg)
{
	Level	   *root = reader->root;
	OutputsReceiver receiver = {.level = root};
	HeapTupleData tuple = {0};

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	tuple.t_data = row;
	reader_begin(reader);
	receiver.values = palloc(root->ncolumns * sizeof(Datum) + 1);
	receiver.nulls = palloc(root->ncolumns * sizeof(bool) + 1);
	row_columns(root, &tuple, receiver.values, receiver.nulls);
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
	reader_end(reader);
}
