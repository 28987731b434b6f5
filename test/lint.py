"""What an extension's script must not do, since a superuser runs it in a
database that others may have prepared.  Reads scripts, prints what is wrong.

Usage: lint.py FILE ...

The rules are those of the PostgreSQL manual on security considerations for
extensions: names are looked up in pg_catalog only, nothing that exists is
replaced or taken over, nothing runs with its owner's rights, and nothing is
granted to everybody that is not meant to be.
"""
import re
import sys

FORBIDDEN = {
    r"CREATE\s+OR\s+REPLACE": "replaces what somebody else may have made",
    r"IF\s+NOT\s+EXISTS": "takes over what somebody else may have made",
    r"SECURITY\s+DEFINER": "runs with its owner's rights",
    r"\bCASCADE\b(?=\s*;)": "drops what it does not name",
    r"^\s*(?:ALTER|DROP)\s+(?!DEFAULT)": "changes what the script has not made",
    r"^\s*DO\b": "runs code",
    r"\bEXECUTE\s+(?!FUNCTION|ON|PROCEDURE)": "runs text",
    r"\bset_config\b|^\s*SET\s+(?!LOCAL)|^\s*RESET\b": "changes settings",
    r"\bpublic\.": "names an object of schema public",
    r"^\s*CREATE\s+(?:CAST|OPERATOR|LANGUAGE|TRANSFORM|RULE|DOMAIN)\b": "makes an object of a kind that is looked up without a schema",
}
PATH = "SET LOCAL search_path TO pg_catalog, pg_temp;"
GRANTS = re.compile(r"^\s*GRANT (?:USAGE ON SCHEMA orm|SELECT ON [^;]*) TO PUBLIC$"
                    r"|^\s*GRANT EXECUTE ON FUNCTION [^;]* TO (?:CURRENT_USER|pg_database_owner)$", re.S)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def statements(text):
    """Without comments, psql's commands and the insides of strings: pairs of
    line and statement."""
    text = re.sub(r"^\\.*$", blank, text, flags=re.M)
    text = re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", blank, text, flags=re.S)
    line = 1
    for statement in text.split(";"):
        start = line + len(re.match(r"\s*", statement).group(0).split("\n")) - 1
        if statement.strip():
            yield start, statement.strip()
        line += statement.count("\n")


def check(name, text, is_first):
    if is_first and PATH not in text.split("CREATE SCHEMA", 1)[0]:
        yield 1, "does not begin with %s" % PATH
    for line, statement in statements(text):
        first = re.sub(r"\s+", " ", statement)[:60]
        for pattern, why in FORBIDDEN.items():
            if re.search(pattern, statement, re.M):
                yield line, "%s: %s" % (first, why)
        made = re.match(r"CREATE\s+(?:TABLE|VIEW|TYPE|FUNCTION|PROCEDURE|SEQUENCE)\s+(\S+)", statement)
        if made and not made.group(1).startswith("orm."):
            yield line, "%s: not in schema orm" % first
        if statement.startswith("GRANT") and not GRANTS.match(re.sub(r"\s+", " ", statement)):
            yield line, "%s: grants more than is meant" % first
        body = re.match(r"CREATE\s+(?:FUNCTION|PROCEDURE)\b", statement)
        if body and not re.search(r"\bLANGUAGE\s+C\b", statement):
            # what is parsed now needs no search_path later
            if not re.search(r"\bSET\s+search_path\b|\bBEGIN\s+ATOMIC\b|^\s*RETURN\b", statement, re.M):
                yield line, "%s: neither C nor with a search_path of its own" % first


def main():
    for number, name in enumerate(sys.argv[1:]):
        with open(name) as source:
            for line, problem in check(name, source.read(), number == 0):
                print("%s:%d: %s" % (name, line, problem))


main()
