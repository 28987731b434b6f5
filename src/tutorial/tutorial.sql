\echo Use "CREATE EXTENSION pg_orm_tutorial CASCADE" to load this file. \quit
