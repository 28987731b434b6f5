/*-------------------------------------------------------------------------
 *
 * render.h
 *	  Values as JSON, exactly as to_json has them, and for etags.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_RENDER_H
#define PG_ORM_DOCUMENT_RENDER_H

#include "fmgr.h"
#include "lib/stringinfo.h"

typedef enum RenderKind
{
	RENDER_BOOL,
	RENDER_INT2,
	RENDER_INT4,
	RENDER_INT8,
	RENDER_NUMBER,				/* by its output function */
	RENDER_TEXT,				/* the varlena's own bytes */
	RENDER_DATETIME,
	RENDER_JSON,				/* by its output function, verbatim */
	RENDER_ARRAY,
	RENDER_ROW,
	RENDER_CAST,				/* by its cast to json */
	RENDER_STRING				/* by its output function */
} RenderKind;

/* How values of a type are written; looked up once. */
typedef struct Renderer
{
	RenderKind	kind;
	Oid			typid;			/* base type */
	FmgrInfo	output;
	FmgrInfo	cast;			/* RENDER_CAST only */
	bool		stable_output;	/* depends on no setting */
} Renderer;

extern void renderer_init(Renderer *renderer, Oid typid, MemoryContext context);

/* Appends the value, which is not NULL, as JSON. */
extern void render_value(Renderer *renderer, Datum value, StringInfo buffer);

/* appendBinaryStringInfo without a call; what is appended has no zero byte. */
static inline void
render_bytes(StringInfo buffer, const char *data, int length)
{
	if (unlikely(buffer->len + length >= buffer->maxlen))
		enlargeStringInfo(buffer, length);
	memcpy(buffer->data + buffer->len, data, length);
	buffer->len += length;
}

static inline void
render_char(StringInfo buffer, char c)
{
	render_bytes(buffer, &c, 1);
}

/* The zero byte that a StringInfo ends with. */
static inline void
render_end(StringInfo buffer)
{
	render_char(buffer, '\0');
	buffer->len--;
}

/* A JSON string; the text need not end with a zero byte. */
extern void render_string(StringInfo buffer, const char *text, int length);

/*
 * Appends the value for an etag, the same under whatever settings, provided
 * that it is called between the two below if the output is not stable.
 */
extern void render_canonical(Renderer *renderer, Datum value,
							 StringInfo buffer);
extern int	canonical_settings_begin(void);
extern void canonical_settings_end(int nest_level);

#endif							/* PG_ORM_DOCUMENT_RENDER_H */
