// Index arithmetic of the kernels, plain enough to compile for the host too, where
// tests/kernels/index.cpp checks it for every length from 1 to 600.
#pragma once

#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__ __forceinline__
#else
#define HOST_DEVICE inline
#endif

// Attention works on 64 queries and 64 keys at a time; each of four warps owns 16 rows of either.
constexpr int TILE = 64;
constexpr int WARP_ROWS = 16;

// One block's share of the queries of a sequence. The host makes the list; entries after the last
// one have length 0, and their blocks leave at once.
struct Tile {
    int row;       // of the batch: where the sequence begins
    int length;    // tokens of the sequence
    int query;     // first query of this tile, within the sequence: a multiple of TILE
    int sequence;  // index of the sequence in the batch
};

HOST_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
HOST_DEVICE int larger(int a, int b) { return a > b ? a : b; }

// First key, a multiple of TILE, and one past the last key that queries `query .. query + TILE` of a
// sequence see, when each sees `window` keys to either side.
HOST_DEVICE int keys_begin(int query, int window) { return larger(query - window, 0) / TILE * TILE; }
HOST_DEVICE int keys_end(int query, int length, int window) {
    return query + TILE > length - window ? length : query + TILE + window;
}

// Whether all queries of the tile at `query` see all keys of the tile at `first`.
HOST_DEVICE bool sees_whole_tile(int query, int first, int length, int window) {
    const int last = TILE - 1;
    return first + TILE <= length && query + last - first <= window && first + last - query <= window;
}

// --- position bands of disentangled attention ---
//
// Between 64 queries and 64 keys lie 127 distances (query minus key). The band of a tile pair has one
// row a distance, in ascending order, and a spare one.
constexpr int BAND_ROWS = 2 * TILE;

// The distance of row 0, for tiles that begin at these tokens of the sequence.
HOST_DEVICE int band_first(int query, int key) { return query - key - (TILE - 1); }
// The row of query `i` and key `j`, both counted from the beginning of their tiles: the skewed read.
HOST_DEVICE int band_row(int i, int j) { return i - j + TILE - 1; }

// A warp's 16 queries (or keys) meet only 79 of the 127 distances: it computes BAND_COLUMNS of them,
// from these rows of the band on.
constexpr int BAND_COLUMNS = 80;
HOST_DEVICE int query_band(int i) { return i / WARP_ROWS * WARP_ROWS; }
HOST_DEVICE int key_band(int j) { return TILE - WARP_ROWS - j / WARP_ROWS * WARP_ROWS; }

// Elements from one row of a band to the next: 16 bytes more than the row, for the banks.
constexpr int BAND_STRIDE = BAND_COLUMNS + 8;
// Where the term of query `i` and key `j` lies among those of the queries, and of the keys.
HOST_DEVICE int query_term(int i, int j) { return i * BAND_STRIDE + band_row(i, j) - query_band(i); }
HOST_DEVICE int key_term(int i, int j) { return j * BAND_STRIDE + band_row(i, j) - key_band(j); }
// How much further on that of (i + di, j + dj) lies, for `i + di` of the same warp, j < 8 and dj a multiple of
// 8, or one more where j + 1 < 8: known at compile time, where a thread's first pair is not.
HOST_DEVICE int query_term_step(int di, int dj) { return di * (BAND_STRIDE + 1) - dj; }
HOST_DEVICE int key_term_step(int di, int dj) { return dj * (BAND_STRIDE - 1) + di + dj / WARP_ROWS * WARP_ROWS; }

// Where the table of slots, which has an entry for each distance from -(reach - 1) to reach - 1,
// keeps that of `distance`; further ones share the outermost.
HOST_DEVICE int slot_index(int distance, int reach) {
    return smaller(larger(distance, 1 - reach), reach - 1) + reach - 1;
}
