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
 * It is the caller's until the current memory context, which is that of an
 * SPI connection, is gone.  call is a constant string.
 */
extern Reader *kept_reader_get(const char *call, Model *model,
							   const char *selection, int length, bool etag);

#endif							/* PG_ORM_DOCUMENT_KEPT_READER_H */
