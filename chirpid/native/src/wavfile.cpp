// Windows of WAV files by pread. Headers are taken only if nothing in them is odd; whatever is goes
// to libsndfile, whose repairs and messages are the ones that count. No size stated in a file is
// believed beyond the size of that file.
// Source: RIFF WAVE of Microsoft and IBM (1991), WAVEFORMATEXTENSIBLE, RF64 of EBU Tech 3306.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "common.h"
#include "pcm.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define CHIRPID_NOT_LITTLE_ENDIAN
#endif

#if defined(CHIRPID_HAS_X86_WIDTHS)
#define DECLARE_WIDTH(name)                                                             \
    namespace name {                                                                    \
    int pcm_to_mono(const unsigned char*, int64_t, int, int, int, float*);              \
    }
DECLARE_WIDTH(avx2)
DECLARE_WIDTH(avx512)
#endif
namespace baseline {
int pcm_to_mono(const unsigned char*, int64_t, int, int, int, float*);
}

int pcm_to_mono(const unsigned char* samples, int64_t num_frames, int num_channels, int subtype,
                int channel, float* out) {
    return CHIRPID_DISPATCH(pcm_to_mono(samples, num_frames, num_channels, subtype, channel, out));
}

namespace {

constexpr int HEAD_BYTES = 4096;
constexpr int MAX_CHUNKS = 64;
constexpr int64_t BLOCK_BYTES = 1 << 16;  // read at once, and still in the cache when converted

uint16_t u16(const unsigned char* at) { return static_cast<uint16_t>(at[0] | at[1] << 8); }
uint32_t u32(const unsigned char* at) {
    return static_cast<uint32_t>(u16(at)) | static_cast<uint32_t>(u16(at + 2)) << 16;
}
uint64_t u64(const unsigned char* at) {
    return static_cast<uint64_t>(u32(at)) | static_cast<uint64_t>(u32(at + 4)) << 32;
}
bool is(const unsigned char* at, const char* mark) { return std::memcmp(at, mark, 4) == 0; }

// Bytes of a file, the first few thousand read once.
class Bytes {
   public:
    explicit Bytes(int descriptor) : descriptor_(descriptor) {
        struct stat about;
        if (fstat(descriptor, &about) || !S_ISREG(about.st_mode)) return;
        size_ = about.st_size;
        const ssize_t got = pread(descriptor, head_, HEAD_BYTES, 0);
        num_head_ = got > 0 ? got : 0;
    }
    int64_t size() const { return size_; }

    // `count` bytes at `offset`, at most 64; null where the file ends before.
    const unsigned char* at(int64_t offset, int64_t count) {
        if (offset < 0 || offset > size_ - count) return nullptr;
        if (offset + count <= num_head_) return head_ + offset;
        return pread(descriptor_, part_, count, offset) == count ? part_ : nullptr;
    }

   private:
    int descriptor_;
    int64_t size_ = 0, num_head_ = 0;
    unsigned char head_[HEAD_BYTES];
    unsigned char part_[64];
};

const unsigned char GUID_END[14] = {0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80,
                                    0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71};

bool read_format(const unsigned char* at, uint32_t size, ChirpidWav* wav) {
    int tag = u16(at);
    const uint32_t channels = u16(at + 2), rate = u32(at + 4), align = u16(at + 12);
    const uint32_t bits = u16(at + 14);
    if (tag == 0xfffe) {
        if (size != 40 || u16(at + 16) != 22 || u16(at + 18) != bits) return false;
        tag = u16(at + 24);
        if (std::memcmp(at + 26, GUID_END, sizeof GUID_END)) return false;
    } else if (size != 16 && !(size == 18 && u16(at + 16) == 0)) {
        return false;
    }
    if (tag == 1 && bits % 8 == 0 && bits >= 8 && bits <= 32)
        wav->subtype = static_cast<int>(bits) / 8 - 1;
    else if (tag == 3 && (bits == 32 || bits == 64))
        wav->subtype = bits == 32 ? PCM_FLOAT : PCM_DOUBLE;
    else
        return false;
    wav->num_channels = static_cast<int32_t>(channels);
    wav->sample_rate_hz = static_cast<int32_t>(rate);
    return channels >= 1 && channels <= 256 && rate >= 1 && rate <= 1000000000 &&
           align == channels * bits / 8 && u32(at + 8) == rate * align;
}

// Whether the texts of a LIST fill it exactly.
bool is_plain_list(Bytes& bytes, int64_t begin, int64_t end) {
    const unsigned char* kind = bytes.at(begin, 4);
    if (!kind || !is(kind, "INFO")) return false;
    int64_t at = begin + 4;
    for (int i = 0; at < end && i < MAX_CHUNKS; i++) {
        const unsigned char* head = bytes.at(at, 8);
        if (!head || at + 8 > end) return false;
        for (int c = 0; c < 4; c++)
            if (head[c] < '0' || head[c] > 'z') return false;
        const int64_t size = u32(head + 4);
        at += 8 + size + size % 2;
    }
    return at == end;
}

// Whether a chunk beside the format and the data is one that libsndfile passes over.
bool is_harmless(Bytes& bytes, const unsigned char* id, int64_t begin, int64_t size,
                 const ChirpidWav& wav) {
    if (is(id, "fact")) return size == 4;
    if (is(id, "PEAK")) return wav.num_channels && size == 8 + 8 * int64_t{wav.num_channels};
    if (is(id, "LIST")) return is_plain_list(bytes, begin, begin + size);
    for (const char* known : {"JUNK", "junk", "PAD ", "guan", "wamd", "FLLR", "id3 "})
        if (is(id, known)) return size >= 8;
    return false;
}

// Read the header of an open file; false where anything in it is not as it should be.
bool read_header(Bytes& bytes, ChirpidWav* wav) {
    const unsigned char* head = bytes.at(0, 12);
    if (!head || !is(head + 8, "WAVE")) return false;
    const bool large = is(head, "RF64") && u32(head + 4) == 0xffffffffu;
    if (!large && !is(head, "RIFF")) return false;
    int64_t riff_bytes = u32(head + 4), data_bytes = -1, at = 12;
    if (large) {
        const unsigned char* ds64 = bytes.at(12, 36);
        if (!ds64 || !is(ds64, "ds64") || u32(ds64 + 4) != 28 || u32(ds64 + 32)) return false;
        if (u64(ds64 + 8) > INT64_MAX || u64(ds64 + 16) > INT64_MAX) return false;
        riff_bytes = static_cast<int64_t>(u64(ds64 + 8));
        data_bytes = static_cast<int64_t>(u64(ds64 + 16));
        at = 48;
    }
    if (riff_bytes != bytes.size() - 8) return false;
    bool has_format = false, has_data = false;
    for (int i = 0; at < bytes.size(); i++) {
        const unsigned char* chunk = bytes.at(at, 8);
        if (!chunk || i == MAX_CHUNKS) return false;
        int64_t size = u32(chunk + 4);
        const int64_t begin = at + 8;
        if (is(chunk, "data")) {
            if (has_data || !has_format) return false;
            if (large != (size == 0xffffffff)) return false;
            if (large) size = data_bytes;
            const int64_t frame_bytes = wav->num_channels * pcm_bytes(wav->subtype);
            if (size <= 0 || size > bytes.size() - begin || size % frame_bytes) return false;
            const unsigned char* first = bytes.at(begin, std::min<int64_t>(size, 4));
            // libsndfile refuses other codecs that hide there
            if (!first || (size >= 4 && (is(first, "wvpk") || is(first, "OggS")))) return false;
            has_data = true;
            wav->data_offset = begin;
            wav->num_frames = size / frame_bytes;
        } else if (is(chunk, "fmt ")) {
            if (has_format || size < 16 || size > 40) return false;
            const unsigned char* format = bytes.at(begin, size);
            if (!format || !read_format(format, static_cast<uint32_t>(size), wav)) return false;
            has_format = true;
        } else {
            unsigned char id[4];
            std::memcpy(id, chunk, 4);
            if (size > bytes.size() - begin || !is_harmless(bytes, id, begin, size, *wav))
                return false;
        }
        at = begin + size + size % 2;
        if (size % 2 && at < bytes.size()) return false;  // padded or not: writers differ
    }
    return has_data;
}

// Fill `out` with frames of the file; those that it no longer holds stay zero. 0 or errno.
int read_frames(const ChirpidWav* wav, int64_t first, int64_t count, int channel, float* out) {
    static thread_local std::vector<unsigned char> block(BLOCK_BYTES);
    const int64_t frame_bytes = wav->num_channels * pcm_bytes(wav->subtype);
    const int64_t block_frames = BLOCK_BYTES / frame_bytes;
    for (int64_t done = 0; done < count;) {
        const int64_t want = std::min(count - done, block_frames) * frame_bytes;
        const int64_t offset = wav->data_offset + (first + done) * frame_bytes;
        const ssize_t got = pread(wav->descriptor, block.data(), want, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        const int64_t frames = got / frame_bytes;
        pcm_to_mono(block.data(), frames, wav->num_channels, wav->subtype, channel, out + done);
        done += frames;
        if (got < want && frames == 0) {
            std::fill(out + done, out + count, 0.0f);
            return 0;
        }
    }
    return 0;
}

}  // namespace

// Open `path`. 0: `wav` is ready. 1: it cannot be opened, or is for libsndfile to judge.
CHIRPID_API int chirpid_wav_open(const char* path, ChirpidWav* wav) {
    std::memset(wav, 0, sizeof *wav);
    wav->descriptor = -1;
#if defined(CHIRPID_NOT_LITTLE_ENDIAN)
    return 1;
#endif
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe never blocks
    if (descriptor < 0) return 1;
    Bytes bytes(descriptor);
    if (!read_header(bytes, wav)) {
        close(descriptor);
        wav->descriptor = -1;
        return 1;
    }
    wav->descriptor = descriptor;
    return 0;
}

// Fill float32 `out` [num_frames] with mono frames from `start` on, zeros outside of the file.
// Returns 0, or the errno of a read that failed.
CHIRPID_API int chirpid_wav_read(const ChirpidWav* wav, int64_t start, int64_t num_frames,
                                 int channel, float* out) {
    const int64_t first = std::clamp<int64_t>(start, 0, wav->num_frames);
    const int64_t stop = std::clamp<int64_t>(start + num_frames, first, wav->num_frames);
    const int64_t before = first == stop ? num_frames : first - start;
    std::fill(out, out + before, 0.0f);
    if (first == stop) return 0;
    std::fill(out + (stop - start), out + num_frames, 0.0f);
    return read_frames(wav, first, stop - first, channel, out + before);
}

CHIRPID_API int chirpid_wav_close(ChirpidWav* wav) {
    const int failed = wav->descriptor >= 0 ? close(wav->descriptor) : 0;
    wav->descriptor = -1;
    return failed ? errno : 0;
}

// Samples that lie in memory to mono floats; see pcm.h.
CHIRPID_API int chirpid_pcm_to_mono(const unsigned char* samples, int64_t num_frames,
                                    int num_channels, int subtype, int channel, float* out) {
    return pcm_to_mono(samples, num_frames, num_channels, subtype, channel, out);
}
