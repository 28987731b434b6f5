"""Test Anything Protocol, as much as the driver tests need."""

import sys

count = 0
failed = 0


def same(got, wanted, name):
    """One test: got equals wanted."""
    global count, failed
    count += 1
    if got == wanted:
        print(f'ok {count} - {name}')
    else:
        failed += 1
        print(f'not ok {count} - {name}')
        print(f'#      got: {got!r}\n#   wanted: {wanted!r}')


def done():
    print(f'1..{count}')
    sys.exit(failed > 0)
