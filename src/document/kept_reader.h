/*-------------------------------------------------------------------------
 *
 * kept_reader.h
 *	  Readers that are kept from call to call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_ORM_DOCUMENT_KEPT_READER_H
#define PG_ORM_DOCUMENT_KEPT_READER_H

#include "document/reader.h"

/*
 * The reader of a selection (its text, of so many bytes), without criteria.
 * It is the caller's until the current memory context is gone or reset, which
 * is not later than the end of the transaction.  call is a constant string;
 * by_keys is as in ReaderRequest.
 */
extern Reader *kept_reader_get(const char *call, Model *model,
							   const char *selection, int length, bool etag,
							   bool by_keys);

#endif							/* PG_ORM_DOCUMENT_KEPT_READER_H */
