#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "drive.h"
#include "pcm.h"

extern "C" int chirpid_wav_open(const char* path, ChirpidWav* wav);
extern "C" int chirpid_wav_read(const ChirpidWav* wav, int64_t start, int64_t num_frames,
                                int channel, float* out);
extern "C" int chirpid_wav_close(ChirpidWav* wav);
extern "C" int chirpid_pcm_to_mono(const unsigned char* samples, int64_t num_frames,
                                   int num_channels, int subtype, int channel, float* out);

namespace {

void put(std::string& bytes, uint64_t number, int size) {
    for (int i = 0; i < size; i++) bytes += static_cast<char>(number >> 8 * i);
}

std::string wav_of(int num_channels, int num_frames) {
    std::string samples;
    for (int i = 0; i < num_channels * num_frames; i++) put(samples, 100 + i, 2);
    std::string bytes = "RIFF";
    put(bytes, 36 + samples.size(), 4);
    bytes += "WAVEfmt ";
    put(bytes, 16, 4);
    put(bytes, 1, 2);
    put(bytes, num_channels, 2);
    put(bytes, 32000, 4);
    put(bytes, 32000 * num_channels * 2, 4);
    put(bytes, num_channels * 2, 2);
    put(bytes, 16, 2);
    bytes += "data";
    put(bytes, samples.size(), 4);
    return bytes + samples;
}

// Whatever the bytes of the file: read in full or refused, never beyond the buffers.
void read_whole(const std::string& bytes, bool good) {
    char path[] = "/tmp/chirpid-drive-XXXXXX";
    const int file = mkstemp(path);
    CHECK(file >= 0);
    CHECK(write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    close(file);
    ChirpidWav wav;
    const int failed = chirpid_wav_open(path, &wav);
    CHECK(!good || failed == 0);
    if (failed == 0) {
        for (int64_t start : {int64_t{0}, int64_t{3}, wav.num_frames}) {
            std::vector<float> out(50, NAN);
            chirpid_wav_read(&wav, start, 50, PCM_MEAN, out.data());
            if (good)
                for (float value : out) CHECK(std::isfinite(value));
        }
        CHECK(chirpid_wav_close(&wav) == 0);
    }
    unlink(path);
}

}  // namespace

void drive_wav() {
    for (int num_channels : {1, 2, 3}) {
        const std::string bytes = wav_of(num_channels, 20);
        read_whole(bytes, true);
        for (size_t at = 0; at < 48; at++) {  // headers that are cut off or lie
            read_whole(bytes.substr(0, at), false);
            std::string changed = bytes;
            changed[at] = static_cast<char>(~changed[at]);
            read_whole(changed, false);
        }
        for (int subtype = PCM_U8; subtype <= PCM_DOUBLE; subtype++)
            for (int64_t num_frames : {0, 1, 33})
                for (int channel = PCM_MEAN; channel < num_channels; channel++) {
                    const std::vector<unsigned char> samples(
                        num_frames * num_channels * pcm_bytes(subtype), 0x3f);
                    std::vector<float> out(num_frames, NAN);
                    CHECK(chirpid_pcm_to_mono(samples.data(), num_frames, num_channels, subtype,
                                              channel, out.data()) == 0);
                    for (float value : out) CHECK(std::isfinite(value));
                }
    }
}
