// 512 instances of a module at once: a signal's bit is one vector, with a bit for each instance (lane).
// Words of lanes: `Words<T>` holds one T for each lane, lane l at place(l); `flip` turns as many planes as T has bits into them, and back.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__AVX512F__) || defined(__AVX512VBMI__)
#include <immintrin.h>
#endif

namespace slices {

constexpr unsigned LANES = 512;
typedef uint64_t V __attribute__((vector_size(64)));
constexpr V ZEROS{}, ONES = ~V{};

inline bool any(const V& v) {
#ifdef __AVX512F__
    return _mm512_test_epi64_mask((__m512i)v, (__m512i)v);
#else
    return v[0] | v[1] | v[2] | v[3] | v[4] | v[5] | v[6] | v[7];
#endif
}

// Bit (a << 2 | b << 1 | c) of TABLE.
template <unsigned TABLE>
inline V lut(const V& a, const V& b, const V& c) {
#ifdef __AVX512F__
    return (V)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, TABLE);
#else
    V sum{};
    if constexpr (TABLE & 1) sum |= ~a & ~b & ~c;
    if constexpr (TABLE & 2) sum |= ~a & ~b & c;
    if constexpr (TABLE & 4) sum |= ~a & b & ~c;
    if constexpr (TABLE & 8) sum |= ~a & b & c;
    if constexpr (TABLE & 16) sum |= a & ~b & ~c;
    if constexpr (TABLE & 32) sum |= a & ~b & c;
    if constexpr (TABLE & 64) sum |= a & b & ~c;
    if constexpr (TABLE & 128) sum |= a & b & c;
    return sum;
#endif
}

inline V chosen(const V& enable, const V& yes, const V& no) { return lut<0xCA>(enable, yes, no); }

inline bool bit(const V& v, unsigned lane) {
    uint64_t words[8];
    std::memcpy(words, &v, 64);
    return words[lane / 64] >> lane % 64 & 1;
}

inline void put(V& v, unsigned lane, bool value) {
    uint64_t& word = reinterpret_cast<uint64_t*>(&v)[lane / 64];
    word = (word & ~(uint64_t(1) << lane % 64)) | uint64_t(value) << lane % 64;
}

template <typename Act>
inline void for_lanes(const V& mask, Act act) {
    uint64_t words[8];
    std::memcpy(words, &mask, 64);
    for (unsigned k = 0; k < 8; k++)
        for (uint64_t left = words[k]; left; left &= left - 1) act(64 * k + std::countr_zero(left));
}

template <typename T>
struct alignas(64) Words {
    static constexpr unsigned BITS = 8 * sizeof(T);
    T at[LANES];

    static constexpr unsigned place(unsigned lane) { return lane % BITS * (LANES / BITS) + lane / BITS; }
    T& operator[](unsigned lane) { return at[place(lane)]; }
    const T& operator[](unsigned lane) const { return at[place(lane)]; }
};

// Transposes the BITS x BITS bits of each column in place: planes to words, words to planes.
template <typename T>
__attribute__((noinline)) void flip(V* rows) {
    constexpr unsigned BITS = 8 * sizeof(T);
    typedef T Column __attribute__((vector_size(64)));
    Column row[BITS];
    std::memcpy(row, rows, sizeof(row));
    T mask = T(T(1) << BITS / 2) - 1;
#pragma GCC unroll 8
    for (unsigned step = BITS / 2; step; step /= 2, mask ^= T(mask << step)) {
#pragma GCC unroll 32
        for (unsigned k = 0; k < BITS; k++) {
            if (k & step) continue;
            // Eight-bit columns are shifted as wider ones: what crosses over is masked.
            Column moved;
            if constexpr (sizeof(T) == 1) {
                typedef uint16_t Wide __attribute__((vector_size(64)));
                moved = (((Column)((Wide)row[k] >> uint16_t(step))) ^ row[k + step]) & mask;
                row[k + step] ^= moved;
                row[k] ^= (Column)((Wide)moved << uint16_t(step));
            } else {
                moved = ((row[k] >> step) ^ row[k + step]) & mask;
                row[k + step] ^= moved;
                row[k] ^= moved << step;
            }
        }
    }
    std::memcpy(rows, row, sizeof(row));
}

template <typename T>
inline void to_words(const V* planes, unsigned count, Words<T>& words) {
    V* rows = reinterpret_cast<V*>(words.at);
    for (unsigned k = 0; k < Words<T>::BITS; k++) rows[k] = k < count ? planes[k] : ZEROS;
    flip<T>(rows);
}

template <typename T>
inline void to_planes(const Words<T>& words, unsigned count, V* planes) {
    V rows[Words<T>::BITS];
    std::memcpy(rows, words.at, sizeof(rows));
    flip<T>(rows);
    for (unsigned k = 0; k < count; k++) planes[k] = rows[k];
}

// A memory of each lane, one write and one read port with a register behind it, that gives what was there before a write of the same
// clock. Only lanes whose address has changed, or whose word may have, are read.
template <unsigned COUNT, unsigned WIDTH, unsigned BITS>
class Ram {
  public:
    explicit Ram(const uint64_t* initial) : words_(new Word[size_t(LANES) * COUNT]()) {
        constexpr unsigned LONGS = (WIDTH + 63) / 64;
        for (unsigned lane = 0; lane < LANES; lane++)
            for (unsigned k = 0; k < COUNT; k++) std::memcpy(&words_[size_t(lane) * COUNT + k], initial + k * LONGS, std::min(sizeof(Word), size_t(8 * LONGS)));
        stale_ = ONES;
    }
    ~Ram() { delete[] words_; }

    template <typename Data>
    void clock(const V* address, const V& enable, const V* to, const V& strobe, Data data, V* out) {
        V changed = stale_;
        for (unsigned k = 0; k < BITS; k++) changed |= address[k] ^ last_[k];
        changed &= enable;
        if (any(changed)) {
            Words<uint16_t> at;
            to_words(address, BITS, at);
            for_lanes(changed, [&](unsigned lane) {
                const Word& word = words_[size_t(lane) * COUNT + at[lane]];
                for (unsigned k = 0; k < PARTS; k++) read_[k][lane] = word.part[k];
            });
            for (unsigned k = 0; k < PARTS; k++) to_planes(read_[k], std::min(WIDTH - 32 * k, 32u), out + 32 * k);
            for (unsigned k = 0; k < BITS; k++) last_[k] = chosen(enable, address[k], last_[k]);
            stale_ &= ~changed;
        }
        if (any(strobe)) {
            V planes[WIDTH];
            data(planes);
            Words<uint16_t> at;
            to_words(to, BITS, at);
            Words<uint32_t> part[PARTS];
            for (unsigned k = 0; k < PARTS; k++) to_words(planes + 32 * k, std::min(WIDTH - 32 * k, 32u), part[k]);
            for_lanes(strobe, [&](unsigned lane) {
                Word& word = words_[size_t(lane) * COUNT + at[lane]];
                for (unsigned k = 0; k < PARTS; k++) word.part[k] = Part(part[k][lane]);
            });
            stale_ |= strobe;
        }
    }

  private:
    static constexpr unsigned PARTS = (WIDTH + 31) / 32;
    static_assert(BITS <= 16);
    using Part = std::conditional_t<(WIDTH <= 8), uint8_t, std::conditional_t<(WIDTH <= 16), uint16_t, uint32_t>>;
    struct Word {
        Part part[PARTS == 3 ? 4 : PARTS];
    };
    Word* words_;
    Words<uint32_t> read_[PARTS]{};
    V last_[BITS]{}, stale_;
};

// 256 words of one or two bytes, the same for all lanes, with a register behind.
template <unsigned WIDTH>
class Rom {
  public:
    explicit Rom(const uint64_t* initial) {
        for (unsigned k = 0; k < 256; k++)
            for (unsigned part = 0; part < PARTS; part++) table_[part][k] = uint8_t(initial[k] >> 8 * part);
    }

    void clock(const V* address, const V& enable, V* out) {
        V changed = ONES ^ known_;
        for (unsigned k = 0; k < 8; k++) changed |= address[k] ^ last_[k];
        changed &= enable;
        if (!any(changed)) return;
        known_ |= enable;
        for (unsigned k = 0; k < 8; k++) last_[k] = chosen(enable, address[k], last_[k]);
        Words<uint8_t> at, found;
        to_words(last_, 8, at);
        for (unsigned part = 0; part < PARTS; part++) {
            const uint8_t* table = table_[part];
#ifdef __AVX512VBMI__
            __m512i quarter[4];
            for (unsigned k = 0; k < 4; k++) quarter[k] = _mm512_loadu_si512(table + 64 * k);
            for (unsigned k = 0; k < 8; k++) {
                const __m512i index = _mm512_load_si512(at.at + 64 * k);
                const __m512i low = _mm512_permutex2var_epi8(quarter[0], index, quarter[1]);
                const __m512i high = _mm512_permutex2var_epi8(quarter[2], index, quarter[3]);
                _mm512_store_si512(found.at + 64 * k, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
            }
#else
            for (unsigned k = 0; k < LANES; k++) found.at[k] = table[at.at[k]];
#endif
            V planes[8];
            to_planes(found, 8, planes);
            for (unsigned k = 0; k < 8; k++) out[8 * part + k] = chosen(known_, planes[k], out[8 * part + k]);
        }
    }

  private:
    static constexpr unsigned PARTS = WIDTH / 8;
    static_assert(WIDTH % 8 == 0 && WIDTH <= 64);
    alignas(64) uint8_t table_[PARTS][256];
    V last_[8]{}, known_{};
};

}  // namespace slices
