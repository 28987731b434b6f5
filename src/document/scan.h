/*-------------------------------------------------------------------------
 *
 * scan.h
 *	  The tokens of a selection's text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_SCAN_H
#define PG_ORM_DOCUMENT_SCAN_H

#include "compat.h"

typedef enum SelectionTokenKind
{
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_STRING,				/* in double quotes */
	TOKEN_NUMBER,
	TOKEN_ANNOTATION,			/* @name */
	TOKEN_SYMBOL				/* one of {}()[]:* */
} SelectionTokenKind;

typedef struct SelectionToken
{
	SelectionTokenKind kind;
	int			location;		/* in the text, in bytes */
	int			length;
	char		symbol;
	char	   *value;			/* name, annotation, number or string */
} SelectionToken;

typedef struct SelectionScanner
{
	const char *text;
	const char *next;
	SelectionToken token;		/* the present one */
} SelectionScanner;

extern void scanner_start(SelectionScanner *scanner, const char *text);

/* Goes to the next token; commas are blanks, as in GraphQL. */
extern void scanner_advance(SelectionScanner *scanner);

/* 42601 at the present token: what was expected there. */
pg_noreturn extern void scanner_error(SelectionScanner *scanner,
									  const char *expected);

#endif							/* PG_ORM_DOCUMENT_SCAN_H */
