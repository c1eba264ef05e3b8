"""What run.py looks at: for each model the programs that it runs (settings of the
verifier: see the top of each model), and for each variant the scenario that catches it."""


def rings(program, crashes=2, line_of_1=1, stripe_of_1=1):
    return {'PROGRAM': program, 'CRASHES': str(crashes), 'LINE_OF_1': str(line_of_1),
            'STRIPE_OF_1': str(stripe_of_1)}


# Operations: 1 to 3 records, +4 +8 covers word 0, 1; 17, 18 direct stores; 32 checkpoint;
# 64 any of 1 to 3.
RINGS = {
    'two lines': rings('3 1 2 3 2 1'),
    'one line': rings('1 2 1 2 1 2', line_of_1=0),
    'one stripe': rings('1 2 1 1 1 2', stripe_of_1=0),
    'covered': rings('1 6 1 32 32 0'),
    'direct': rings('3 1 0 18 17 1'),
    'direct, one stripe': rings('1 2 0 17 18 32', stripe_of_1=0),
}

LONG_RINGS = {}
LONG_RINGS['three crashes'] = rings('3 1 2 3 2 1', crashes=3)

# Operations: 1, 2 publish (content in the record, flushed); 3 write; 4 retire; 5, 6 replace;
# 7 write by a record that goes on elsewhere; 0 nothing; + 8 for the other slot.
REUSE = {
    'two slots': {'PROGRAM': '1 3 4 10 12 10', 'CRASHES': '1'},
    'one slot': {'PROGRAM': '2 7 4 9 13 14', 'CRASHES': '1'},
    'two crashes': {'PROGRAM': '1 4 8 10 12 8', 'CRASHES': '2'},
}


def undo(program, crashes, line_of_1=1):
    return {'PROGRAM': program, 'CRASHES': str(crashes), 'LINE_OF_1': str(line_of_1)}


# Operations: 1 to 3 records of these words; + 4 stored in place and committed, + 8 aborted,
# + 12 stored in place, the other word by the record.
UNDO = {
    'two lines': undo('5 1 2 10 3 6', 1),
    'one line': undo('5 1 2 10 3 6', 1, 0),
    'two crashes': undo('13 2 0 14 9 0', 2),
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
            'ENDED_APART': 'two crashes',
            'NO_GUARD': 'two lines',
            'SAVE_UNHELD': 'two lines',
            'LOG_EARLY': 'two lines',
            'GEN_STAYS': 'two lines',
            'R_ANY_GEN': 'two lines',
            'R_UNDO_ANY_EPOCH': 'two crashes',
            'R_UNDO_NO_SUM': 'two lines',
            'R_BACK_FIRST': 'two lines',
            'R_NO_BACK_FLUSH': 'two crashes',
            'R_NO_FENCE_2': 'two crashes',
        },
    },
}
