// Every index that the attention kernels compute, for every length from 1 to 600: compiled for the
// host by src/engine/cuda/tests/index.rs. Exits with 1 at the first wrong one.
#include "../../kernels/index.cuh"

#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(condition)                                                                          \
    if (!(condition)) {                                                                           \
        std::printf("length %d, window %d, query %d, key %d: %s\n", n, window, i, j, #condition); \
        std::exit(1);                                                                             \
    }

// Each query sees each key of its window in exactly one of the key tiles that are visited, and no tile
// is visited for nothing.
static void key_tiles(int n, int window) {
    std::vector<int> visits(n);
    for (int query = 0; query < n; query += TILE) {
        const int begin = keys_begin(query, window), end = keys_end(query, n, window);
        int i = query, j = begin;
        CHECK(begin % TILE == 0 && begin >= 0 && begin < end && end <= n);
        for (int at = 0; at < n; ++at) visits[at] = 0;
        for (int first = begin; first < end; first += TILE) {
            bool needed = false;
            for (j = first; j < smaller(first + TILE, n); ++j) {
                ++visits[j];
                const int last = smaller(query + TILE, n) - 1;
                needed |= j >= query - window && j <= last + window;
            }
            CHECK(needed || first + TILE > n);
            bool whole = first + TILE <= n;
            for (i = query; i < query + TILE; ++i)
                for (j = first; j < first + TILE; ++j) whole &= std::abs(i - j) <= window;
            CHECK(whole == sees_whole_tile(query, first, n, window));
        }
        for (i = query; i < smaller(query + TILE, n); ++i)
            for (j = 0; j < n; ++j) CHECK(visits[j] == 1 || (visits[j] == 0 && std::abs(i - j) > window));
    }
}

// The skewed read of each pair: inside what the warp of the query, and of the key, has computed, and at
// the pair's own distance.
static void bands(int n) {
    const int window = 0;
    for (int query = 0; query < n; query += TILE)
        for (int key = 0; key < n; key += TILE)
            for (int i = 0; i < TILE && query + i < n; ++i)
                for (int j = 0; j < TILE && key + j < n; ++j) {
                    const int row = band_row(i, j);
                    CHECK(row >= 0 && row < BAND_ROWS);
                    CHECK(band_first(query, key) + row == (query + i) - (key + j));
                    CHECK(row - query_band(i) >= 0 && row - query_band(i) < BAND_COLUMNS);
                    CHECK(row - key_band(j) >= 0 && row - key_band(j) < BAND_COLUMNS);
                    CHECK(query_band(i) % 8 == 0 && query_band(i) + BAND_COLUMNS <= BAND_ROWS);
                    CHECK(key_band(j) % 8 == 0 && key_band(j) >= 0 && key_band(j) + BAND_COLUMNS <= BAND_ROWS);
                }
}

// The terms of a lane's scores, from that of its first.
static void term_steps() {
    const int n = TILE, window = 0;
    for (int warp = 0; warp < TILE / WARP_ROWS; ++warp)
        for (int lane = 0; lane < 32; ++lane) {
            const int i = warp * WARP_ROWS + lane / 4, j = lane % 4 * 2;
            for (int di = 0; di <= 8; di += 8)
                for (int dj = 0; dj < TILE; dj += dj % 8 ? 7 : 1) {
                    CHECK(query_term(i + di, j + dj) == query_term(i, j) + query_term_step(di, dj));
                    CHECK(key_term(i + di, j + dj) == key_term(i, j) + key_term_step(di, dj));
                }
        }
}

// Every row of a band, the spare one and those of pairs beyond the end too, has a slot in the table.
static void slot_table(int n) {
    const int window = 0;
    for (int reach : {1, n, 512}) {
        for (int distance = -n - TILE; distance <= n + TILE; ++distance) {
            const int i = distance, j = reach, at = slot_index(distance, reach);
            CHECK(at >= 0 && at < 2 * reach - 1);
            if (std::abs(distance) < reach) CHECK(at == distance + reach - 1);
        }
    }
}

int main() {
    term_steps();
    for (int n = 1; n <= 600; ++n) {
        for (int window : {0, 1, 63, 64, 65, 200, 1 << 30}) key_tiles(n, window);
        bands(n);
        slot_table(n);
    }
    std::printf("all lengths from 1 to 600\n");
}
