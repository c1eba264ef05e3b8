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
}
