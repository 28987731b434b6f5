/*-------------------------------------------------------------------------
 *
 * stitch.c
 *	  Putting the rows of the levels together: in the order of their parents,
 *	  as etags, and as documents.
 *
 * Memory is that of the reader's present run.  No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "document/level.h"

/* ------------------------------------------------------------------------
 * the order of rows
 * ------------------------------------------------------------------------
 */

/* A row with the primary key that a collection is ordered by. */
typedef struct OrderedRow
{
	int64		order;
	RowRef		row;
} OrderedRow;

static int
ordered_row_compare(const void *a, const void *b)
{
	int64		x = ((const OrderedRow *) a)->order;
	int64		y = ((const OrderedRow *) b)->order;

	return x < y ? -1 : x > y;
}

static void
order_few_rows(OrderedRow *rows, int n)
{
	for (int i = 1; i < n; i++)
	{
		OrderedRow	row = rows[i];
		int			j;

		for (j = i; j > 0 && rows[j - 1].order > row.order; j--)
			rows[j] = rows[j - 1];
		rows[j] = row;
	}
}

/* The rows of each key, whose begins are in next, by their own keys. */
static void
place_rows_ordered(Level *level, int nkeys, int *next)
{
	OrderedRow *rows = MemoryContextAllocHuge(level->reader->data,
											  level->nmatches *
											  sizeof(OrderedRow));

	for (Size i = 0; i < level->nmatches; i++)
	{
		OrderedRow *row = &rows[next[level->match_keys[i]]++];

		row->row = level->match_rows[i];
		row->order = level->match_orders[i];
	}
	for (int key = 0; key < nkeys; key++)
	{
		OrderedRow *first = &rows[level->starts[key]];
		int			n = level->starts[key + 1] - level->starts[key];

		if (n <= 16)
			order_few_rows(first, n);
		else
			qsort(first, n, sizeof(OrderedRow), ordered_row_compare);
	}
	for (Size i = 0; i < level->nmatches; i++)
		level->rows[i] = rows[i].row;
	pfree(rows);
}

/* Puts the rows into the order of their keys, those of a key as they came. */
void
level_sort(Level *level)
{
	Reader	   *reader = level->reader;
	int			nkeys = key_table_count(level->keys);
	int		   *next;

	if (level->match_orders != NULL && !level->out_of_order)
	{
		pfree(level->match_orders);
		level->match_orders = NULL;
	}
	level->starts = MemoryContextAllocExtended(reader->data,
											   (nkeys + 2) * sizeof(int),
											   MCXT_ALLOC_HUGE |
											   MCXT_ALLOC_ZERO);
	level->rows = MemoryContextAllocHuge(reader->data,
										 (level->nmatches + 1) *
										 sizeof(RowRef));
	if (level->nmatches > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many rows of %s", level->model->class_name)));
	/* starts[k + 1] counts, then says where key k goes on, then where it ends */
	next = level->starts + 1;
	for (Size i = 0; i < level->nmatches; i++)
		level->starts[level->match_keys[i] + 2]++;
	for (int key = 0; key < nkeys; key++)
		level->starts[key + 1] += level->starts[key];
	if (level->out_of_order)
		place_rows_ordered(level, nkeys, next);
	else
	{
		for (Size i = 0; i < level->nmatches; i++)
			level->rows[next[level->match_keys[i]]++] = level->match_rows[i];
	}
	pfree(level->match_keys);
	pfree(level->match_rows);
	level->match_keys = NULL;
	level->match_rows = NULL;
	if (level->match_orders != NULL)
		pfree(level->match_orders);
	level->match_orders = NULL;
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

			row_digest(child, row_fetch(child, child->rows[j]), child_digest);
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
	char		digest[LEVEL_DIGEST_LENGTH];

	row_digest(level, row, digest);
	digest_to_hex(digest, etag);
}

/* ------------------------------------------------------------------------
 * writing out
 * ------------------------------------------------------------------------
 */
static void write_row(Level *level, char *row, StringInfo json);

/* The rows of a level that has nothing below it are text as they are. */
static void
write_array(Level *level, int begin, int end, StringInfo json)
{
	render_char(json, '[');
	for (int i = begin; i < end; i++)
	{
		RowRef		ref = level->rows[i];
		char	   *row;

		if (i > begin)
			render_char(json, ',');
		if (level->nholes == 0 && ROW_IS_SPILLED(ref))
		{
			row_append_text(level, ref, json);
			continue;
		}
		row = row_fetch(level, ref);
		if (level->nholes == 0)
			render_bytes(json, LEVEL_ROW_TEXT(level, row),
						 LEVEL_ROW_LENGTHS(level, row)[0]);
		else
			write_row(level, row, json);
	}
	render_char(json, ']');
}

static void
write_child(Level *level, char *row, LevelStep *step, StringInfo json)
{
	Level	   *child = step->child;
	int			begin,
				end;

	child_range(child, row, level, &begin, &end);
	if (!child->to_one)
		write_array(child, begin, end, json);
	else if (begin < end)
		write_row(child, row_fetch(child, child->rows[begin]), json);
	else
		appendStringInfoString(json, step->unnest ? step->null_text : "null");
}

static void
write_etag(Level *level, char *row, StringInfo json)
{
	char		etag[ETAG_LENGTH];

	row_etag(level, row, etag);
	appendStringInfo(json, "\"%s\"", etag);
}

static void
write_row(Level *level, char *row, StringInfo json)
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
			render_bytes(json, text, lengths[hole]);
			text += lengths[hole++];
			if (step->kind == STEP_CHILD)
				write_child(level, row, step, json);
			else
				write_etag(level, row, json);
		}
	}
	render_bytes(json, text, lengths[hole]);
}

void
write_document(Reader *reader, RowRef ref, StringInfo json, DocumentSink sink,
			   void *arg)
{
	char	   *row = row_fetch(reader->root, ref);
	char		etag[ETAG_LENGTH];

	CHECK_FOR_INTERRUPTS();
	resetStringInfo(json);
	write_row(reader->root, row, json);
	render_end(json);
	if (reader->request.etag)
		row_etag(reader->root, row, etag);
	sink(arg, json, reader->request.etag ? etag : NULL);
}

void
write_documents(Reader *reader, DocumentSink sink, void *arg)
{
	Level	   *root = reader->root;
	StringInfoData json;

	if (reader->sink != NULL)
		return;					/* it has them */
	initStringInfo(&json);
	for (Size i = 0; i < root->nmatches; i++)
		write_document(reader, root->match_rows[i], &json, sink, arg);
	pfree(json.data);
}
