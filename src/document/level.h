/*-------------------------------------------------------------------------
 *
 * level.h
 *	  The levels of a selection as they are read: what level.c, level_sql.c
 *	  and reader.c share, and nobody else sees.
 *
 * A level is the root or a relationship of the selection.  Its rows are read
 * by one statement and rendered as they come, as text with holes for what the
 * levels below it have; a row knows by number which key of each of those
 * levels its holes are filled with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_LEVEL_H
#define PG_ORM_DOCUMENT_LEVEL_H

#include "document/key_table.h"
#include "document/reader.h"
#include "document/render.h"
#include "document/selection.h"
#include "query/internal.h"

/* Where the rows of a level come from. */
typedef enum LevelSource
{
	SOURCE_CRITERIA,			/* the root: by filter and so on */
	SOURCE_KEY,					/* the root: by primary key */
	SOURCE_ROW,					/* the root: a row value that is given */
	SOURCE_ONE,					/* those of the one key that is wanted */
	SOURCE_KEYS,				/* those of the keys that are wanted, the root too */
	SOURCE_ALL					/* all, of which most are wanted */
} LevelSource;

#define SOURCES (SOURCE_ALL + 1)

/* An output of the level's statement. */
typedef struct LevelColumn
{
	AttrNumber	attnum;			/* a column of the table, */
	Oid			cast;			/* cast to this type, or InvalidOid */
	Oid			function;		/* or a function of the row */
	bool		returns_set;
	bool		one_row;		/* a set of at most one row */
	Oid			typid;
} LevelColumn;

typedef enum StepKind
{
	STEP_VALUE,
	STEP_CHILD,					/* a hole */
	STEP_ETAG					/* a hole */
} StepKind;

/* A part of a document's text. */
typedef struct LevelStep
{
	StepKind	kind;
	const char *prefix;			/* comma and key */
	int			prefix_length;
	int			column;			/* STEP_VALUE: output, counted from 0 */
	Renderer   *renderer;
	struct Level *child;		/* STEP_CHILD */
	bool		unnest;
	const char *null_text;		/* of an unnested child without a row */
} LevelStep;

/* What the etag is made of. */
typedef struct LevelCheck
{
	int			column;
	Renderer   *renderer;
	struct Level *child;		/* or a level below, and then nothing else */
} LevelCheck;

/* How a child is joined to its parent. */
typedef struct LevelJoin
{
	Oid			typid;			/* that both sides are compared as */
	Oid			collation;		/* that of the referenced side */
	char	   *collate;		/* the clause for the child's column, or "" */
	AttrNumber	local;			/* column of the parent */
	AttrNumber	near;			/* column of the child, or of the link */
	int			parent_column;	/* output of the parent's statement */
} LevelJoin;

/* A rendered row: its address, or with ROW_SPILLED its place in the file. */
typedef uint64 RowRef;

#define ROW_SPILLED (UINT64CONST(1) << 63)
#define ROW_IS_SPILLED(ref) (((ref) & ROW_SPILLED) != 0)

typedef struct RowFile RowFile;

typedef struct Level
{
	Reader	   *reader;
	Selection  *selection;
	SelectionField *field;		/* NULL for the root */
	Model	   *model;
	bool		to_one;
	bool		unnest;			/* its text is part of the parent's */
	int			order_column;	/* output that its rows are ordered by, or -1 */
	bool		digest;			/* an etag is made of its rows */
	int			number;			/* among the parent's children */

	int			njoin;			/* the first outputs of a child */
	LevelJoin  *joins;
	int			ncolumns;		/* the other outputs */
	LevelColumn *columns;
	int			nsteps;
	LevelStep  *steps;
	int			nholes;
	int			nchecks;
	LevelCheck *checks;
	bool		stable_checks;	/* no setting matters for them */
	bool		unique_links;	/* of a many-to-many */
	int			nchildren;
	struct Level **children;

	Composition *compositions[SOURCES]; /* as far as made */
	KeptStatement *statements[SOURCES];
	List	   *key_values[SOURCES];	/* Value * of the keys in them */

	int		   *lengths;		/* nholes + 1, of the present row's text */

	/* of the present run */
	KeyTable   *keys;			/* that the parent's rows have */
	RowRef	   *rows;			/* ordered by key, once all have come */
	int		   *starts;			/* where in rows a key's begin; nkeys + 1 */
	int		   *match_keys;		/* of the rows as they came: the key, */
	RowRef	   *match_rows;		/* the row, */
	int64	   *match_orders;	/* and the value of order_column */
	bool		out_of_order;	/* they did not come in that order */
	Size		nmatches;
	Size		allocated;
	Size		nmemory;		/* of them, those not in the file */
	char	   *row_buffer;		/* the row that was read back last */
	Size		row_buffer_size;
} Level;

#define LEVEL_DIGEST_LENGTH 16

/* The parts of a row: key numbers, lengths of text, digest, text. */
#define LEVEL_ROW_KEYS(level, row) ((int *) (row))
#define LEVEL_ROW_LENGTHS(level, row) ((int *) (row) + (level)->nchildren)
#define LEVEL_ROW_DIGEST(level, row) \
	((char *) (LEVEL_ROW_LENGTHS(level, row) + (level)->nholes + 1))
#define LEVEL_ROW_TEXT(level, row) \
	(LEVEL_ROW_DIGEST(level, row) + ((level)->digest ? LEVEL_DIGEST_LENGTH : 0))

struct Reader
{
	ReaderRequest request;
	Level	   *root;
	MemoryContext context;		/* of the definition */
	MemoryContext data;			/* of the present run */
	MemoryContext scratch;		/* of the present row */
	char	   *chunk;			/* of data, where rows are put */
	Size		chunk_left;
	Size		chunk_size;
	struct RowChunk *chunks;	/* all of them */
	Size		chunks_size;
	Size		limit;			/* of chunks_size */
	RowFile    *file;			/* of the rows beyond that, or NULL */
	StringInfoData buffer;		/* for rendering */
	DocumentSink sink;			/* that takes rows at once, or NULL */
	void	   *sink_arg;
	bool		running;		/* or stopped by an error */
};

/* ------------------------------------------------------------------------
 * in level.c
 * ------------------------------------------------------------------------
 */
extern Level *level_create(Reader *reader, Selection *selection,
						   SelectionField *field, Level *parent, bool digest);

/* The parts of a row before its text. */
static inline Size
row_header_size(Level *level)
{
	return LEVEL_ROW_TEXT(level, (char *) 0) - (char *) 0;
}

/* ------------------------------------------------------------------------
 * in reader.c
 * ------------------------------------------------------------------------
 */
extern void append_uint32(StringInfo buffer, uint32 value);

/*
 * 128 bits of the hash function that hash indexes are made with: it stays the
 * same from version to version, and costs a fraction of a cryptographic one.
 */
extern void make_digest(const char *data, int length, char *digest);
extern void digest_to_hex(const char *digest, char *hex);

/* ------------------------------------------------------------------------
 * in stitch.c
 * ------------------------------------------------------------------------
 */

/* Puts the rows into the order of their keys. */
extern void level_sort(Level *level);

/* Gives the sink a document, or all of them, once all levels are there. */
extern void write_document(Reader *reader, RowRef ref, StringInfo json,
						   DocumentSink sink, void *arg);
extern void write_documents(Reader *reader, DocumentSink sink, void *arg);

/* ------------------------------------------------------------------------
 * in rows.c
 * ------------------------------------------------------------------------
 */

/* Around a run. */
extern void rows_begin(Reader *reader);
extern void rows_end(Reader *reader);

/* Makes room for a row of that size; may write all others to the file. */
extern char *row_chunk_create(Reader *reader, Size size);

/* Appends the text of a row of the file that has no holes. */
extern void row_append_text(Level *level, RowRef ref, StringInfo json);

/* A row of the file, until the next one of the level is read back. */
extern char *row_read_back(Level *level, RowRef ref);

static inline char *
row_fetch(Level *level, RowRef ref)
{
	if (unlikely(ROW_IS_SPILLED(ref)))
		return row_read_back(level, ref);
	return (char *) (uintptr_t) ref;
}

/* ------------------------------------------------------------------------
 * in level_sql.c
 * ------------------------------------------------------------------------
 */

/* The statement of a level; its key values are level->key_values[source]. */
extern Composition *level_composition(Level *level, LevelSource source);

/* Those outputs of a root that a given row does not have by itself. */
extern bool level_column_is_plain(LevelColumn *column);

#endif							/* PG_ORM_DOCUMENT_LEVEL_H */
