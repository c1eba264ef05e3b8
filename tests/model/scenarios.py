"""What run.py looks at: for each model the programs that it runs (settings of the
verifier: see the top of each model), and for each variant the scenario that catches it.
CRASHES counts the one that ends the search: after it nothing but recovery is looked at."""


def rings(program, crashes=3, line_of_1=1, stripe_of_1=1):
    return {'PROGRAM': program, 'CRASHES': str(crashes), 'LINE_OF_1': str(line_of_1),
            'STRIPE_OF_1': str(stripe_of_1)}


# Operations: 1 to 3 records, +4 +8 covers word 0, 1; 17, 18 direct stores; 32 checkpoint;
# 64 any of 1 to 3, 128 any of 1 to 3, 17, 18, 32.
RINGS = {
    'two lines': rings('3 1 2 3 2 1'),
    'one line': rings('1 2 1 2 1 2', line_of_1=0),
    'one stripe': rings('1 2 1 1 1 2', stripe_of_1=0),
    'covered': rings('1 6 1 32 32 0'),
    'direct': rings('3 1 0 18 17 1'),
    'direct, one stripe': rings('1 2 0 17 18 32', stripe_of_1=0),
    'all programs of two records': rings('64 64 0 64 64 0', crashes=2),
    'all programs of three records': rings('64 64 64 64 64 64', crashes=1),
}

LONG_RINGS = {
    'four crashes': rings('3 1 2 3 2 1', crashes=4),
    'all programs of three records, one line':
        rings('64 64 64 64 64 64', crashes=1, line_of_1=0),
    'all programs of three records, one stripe':
        rings('64 64 64 64 64 64', crashes=1, stripe_of_1=0),
    'all programs of two operations': rings('128 128 0 128 128 0', crashes=2),
}

# Operations: 1 to 3 records; 4 process 1 adds a lane; 8 close; 32 checkpoint.
LANES = {
    'join': {'PROGRAM': '1 2 3 2 4 1', 'CRASHES': '2'},
    'join, close': {'PROGRAM': '1 3 2 4 2 8', 'CRASHES': '3'},
    'close': {'PROGRAM': '1 8 2 2 4 3', 'CRASHES': '3'},
}

# Operations: 1, 2 publish (content in the record, flushed); 3 write; 4 retire; 5, 6 replace;
# 7 write by a record that goes on elsewhere; 0 nothing; + 8 for the other slot; 8 end a span
# that is kept.
REUSE = {
    'two slots': {'PROGRAM': '1 3 4 10 12 10', 'CRASHES': '2'},
    'one slot': {'PROGRAM': '2 7 4 9 13 14', 'CRASHES': '2'},
    'three crashes': {'PROGRAM': '1 4 0 10 12 0', 'CRASHES': '3'},
    'large spans': {'PROGRAM': '2 10 12 2 4 8', 'CRASHES': '2', 'LARGE': '1'},
}


def undo(program, crashes, line_of_1=1, spans=0):
    return {'PROGRAM': program, 'CRASHES': str(crashes), 'LINE_OF_1': str(line_of_1),
            'SPANS': str(spans)}


# Operations: 1 to 3 records of these words; + 4 stored in place and committed, + 8 aborted,
# + 12 stored in place, the other word by the record.
UNDO = {
    'two lines': undo('5 1 2 10 3 6', 2),
    'one line': undo('5 1 2 10 3 6', 2, 0),
    'three crashes': undo('13 2 0 14 9 0', 3),
    'area and span': undo('7 3 0 11 7 0', 2, spans=1),
    'one span': undo('5 9 0 6 6 0', 2, spans=2),
}

MODELS = {
    'rings': {
        'scenarios': RINGS,
        'long': LONG_RINGS,
        'variants': {
            'NO_COMMIT_FENCE': 'two lines',
            'APPLY_EARLY': 'two lines',
            'NO_SUM': 'two lines',
            'NO_STRIPE_STAMP': 'two lines',
            'NO_LANE_CLOCK': 'two lines',
            'STRIPES_EARLY': 'two lines',
            'NO_STRIPES': 'two lines',
            'NO_RAISE': 'two lines',
            'NO_FLUSH': 'two lines',
            'NO_FENCE_1': 'two lines',
            'S_FIRST': 'two lines',
            'NO_FENCE_2': 'two lines',
            'NO_FLUSH_S': 'two lines',
            'NO_ROOM': 'two lines',
            'HEAD_NOW': 'two lines',
            'U_EARLY': 'two lines',
            'TAG_LINE': 'two lines',
            'TAG_EVER': 'two lines',
            'COVER_RAISES': 'covered',
            'NO_MIXED': 'direct, one stripe',
            'NO_SETTLE': 'direct',
            'NO_WAIT': 'direct',
            'NO_DIRECT_FENCE': 'direct',
            'R_ANY_STAMP': 'two lines',
            'R_ANY_EPOCH': 'two lines',
            'R_BY_LANE': 'two lines',
            'R_NO_FENCE_1': 'two lines',
            'R_NO_FLUSH': 'two lines',
            'R_NO_FENCE_2': 'two lines',
            'R_OLD_EPOCH': 'two lines',
            'R_NO_FENCE_3': 'two lines',
            'R_CLOCK_0': 'two lines',
            'R_EPOCH_FIRST': 'two lines',
        },
    },
    'lanes': {
        'scenarios': LANES,
        'long': {},
        'variants': {
            'NO_ENTRY_SETTLE': 'join',
            'NO_HEAD_FENCE': 'join',
            'NO_HEAD_FLUSH': 'join',
            'JOIN_RUNNING': 'join',
            'JOIN_CLOCK_0': 'join',
            'CLOSE_UNSETTLED': 'join, close',
            'CLOSE_OWN': 'join, close',
            'STATUS_EARLY': 'join, close',
            'STATUS_STAYS': 'join, close',
        },
    },
    'reuse': {
        'scenarios': REUSE,
        'long': {},
        'variants': {
            'NO_LIMBO': 'one slot',
            'LIMBO_RUNNING': 'two slots',
            'NO_TOUCH_SET': 'two slots',
            'NO_TOUCH_CONTENT': 'one slot',
            'TOUCH_EARLY': 'two slots',
            'NO_CONTENT_FENCE': 'two slots',
            'NO_CONTENT_FLUSH': 'two slots',
            'CONTENT_UNNOTED': 'two slots',
            'FREE_EARLY': 'two slots',
            'NO_MORE_FENCE': 'one slot',
            'NO_MORE_LIMBO': 'one slot',
            'TWO_RECORDS': 'two slots',
            'BORN_EARLY': 'large spans',
            'END_EARLY': 'large spans',
            'NO_BIRTH': 'large spans',
        },
    },
    'undo': {
        'scenarios': UNDO,
        'long': {},
        'variants': {
            'NO_SAVE_FENCE': 'two lines',
            'NO_SAVE_SETTLE': 'two lines',
            'NO_COMMIT_FLUSH': 'two lines',
            'NO_COMMIT_FENCE_1': 'two lines',
            'NO_RESTORE_FLUSH': 'two lines',
            'NO_RESTORE_FENCE': 'two lines',
            'END_FIRST': 'two lines',
            'NO_ABORT_END': 'two lines',
            'ENDED_APART': 'three crashes',
            'NO_GUARD': 'two lines',
            'SAVE_UNHELD': 'two lines',
            'LOG_EARLY': 'two lines',
            'GEN_STAYS': 'two lines',
            'R_ANY_GEN': 'two lines',
            'R_ANY_LOG': 'area and span',
            'SPAN_EARLY': 'one span',
            'R_UNDO_ANY_EPOCH': 'three crashes',
            'R_UNDO_NO_SUM': 'two lines',
            'R_BACK_FIRST': 'two lines',
            'R_NO_BACK_FLUSH': 'three crashes',
            'R_NO_FENCE_2': 'three crashes',
        },
    },
}
