#!/usr/bin/env python3
"""The manual page of a public header: what its comments say, and nothing else.

usage: page.py HEADER NAME VERSION >NAME.3
       page.py --list HEADER

The contract of a function is in the header only. The first comment becomes the
description; each further one, with the declarations below it, a section.
"""

import re
import sys


def escape(text):
    text = text.replace('\\', '\\e').replace('-', '\\-')
    text = re.sub(r'(?<!\w)\*(\w[\w ]*)\*(?!\w)', r'\\fI\1\\fP', text)
    return re.sub(r"^(?=[.'])", r'\\&', text, flags=re.M)


def comment_lines(comment):
    body = comment.strip()[2:-2]
    return [re.sub(r'^(\s*\*)? ?', '', line).rstrip() for line in body.split('\n')]


def prose(lines):
    """Paragraphs are filled, except where words are put below each other."""
    out = []
    for paragraph in '\n'.join(lines).strip('\n').split('\n\n'):
        text = escape(paragraph.expandtabs(8))
        fixed = re.search(r'(?m)^ |\S   +\S', text)
        out.append(f'.nf\n{text}\n.fi' if fixed else text)
    return '\n.PP\n'.join(out)


def title(code):
    """What a section without functions is about."""
    names = re.findall(r'(?m)^#define (\w+)|^(?:typedef )?((?:struct|enum|union) \w+) \{', code)
    return ', '.join(a or b for a, b in names) or 'Types'


def without_bodies(code):
    """Of inline functions and tables in the code, only what they are called with."""
    code = re.sub(r'^((?:static inline )[^;{]*?\))\n\{.*?^\}', r'\1;', code, flags=re.S | re.M)
    return re.sub(r'(?m)^(PHEAP_API|static inline) ', '', code)


def functions(code):
    """Of each declaration its name; a struct's members are none."""
    plain = re.sub(r'/\*.*?\*/', '', code, flags=re.S)
    plain = re.sub(r'\{.*?\}', '', plain, flags=re.S)
    return re.findall(r'^(?!typedef|#|\s)[\w \*]*?\b(pheap_\w+)\(', plain, flags=re.M)


def split(text):
    """The header's own comment, and (comment, code) of what follows."""
    first = re.match(r'/\*.*?\*/', text, flags=re.S).group(0)
    body = text[len(first):]
    body = re.sub(r'^#ifdef __cplusplus\n.*?^#endif\n', '', body, flags=re.S | re.M)
    body = re.sub(r'^#(ifndef|define) PHEAP_\w+_H\n|^#include.*\n|^#endif\n\Z', '', body,
                  flags=re.M)
    groups = []
    for piece in re.split(r'(?m)^(?=/\*)', body):
        comment = re.match(r'/\*.*?\*/', piece, flags=re.S)
        code = piece[comment.end():] if comment else piece
        if comment or code.strip():
            groups.append((comment.group(0) if comment else '/* */',
                           without_bodies(code).strip('\n')))
    return first, groups


def page(header, name, version):
    with open(header, encoding='utf-8') as file:
        first, groups = split(file.read())
    lines = [line for line in comment_lines(first)]
    while not lines[0]:
        lines.pop(0)
    what = re.match(r'\S+ - (.*?)\.?$', lines.pop(0))
    names = [f for _, code in groups for f in functions(code)]
    names.sort(key=lambda other: other != name)
    out = [f'.\\" Made from {header.split("include/")[-1]} by docs/man/page.py.',
           f'.TH {name.upper()} 3 "" "pheap {version}" "Library Functions"',
           '.SH NAME', ', '.join(names) + ' \\- ' + escape(what.group(1)),
           '.SH SYNOPSIS', '.nf', '.B #include <pheap.h>', '.fi', '.PP',
           'Link with \\fI\\-lpheap\\fP.', '.SH DESCRIPTION', prose(lines)]
    for comment, code in groups:
        found = functions(code)
        out.append('.SS ' + (', '.join(f'{f}()' for f in found) if found else title(code)))
        if code.strip():
            out += ['.nf', escape(code.expandtabs(8)), '.fi', '.PP']
        out.append(prose(comment_lines(comment)))
    out += ['.SH SEE ALSO', '.BR pheap (3),', '.BR pheap (7)']
    return '\n'.join(line for line in out if line) + '\n'


def listed(header):
    with open(header, encoding='utf-8') as file:
        return [f for _, code in split(file.read())[1] for f in functions(code)]


if __name__ == '__main__':
    if len(sys.argv) == 3 and sys.argv[1] == '--list':
        print('\n'.join(listed(sys.argv[2])))
    elif len(sys.argv) == 4:
        sys.stdout.write(page(*sys.argv[1:]))
    else:
        sys.exit(__doc__)
