#include "drive.h"

extern "C" int chirpid_widest();
extern "C" int chirpid_width();
extern "C" int chirpid_use_width(int width);
extern "C" const char* chirpid_sources();

int main() {
    CHECK(chirpid_sources()[0] != 0);
    const int widest = chirpid_widest();
    CHECK(chirpid_use_width(widest + 1) != 0);
    for (int width = 0; width <= widest; width++) {
        CHECK(chirpid_use_width(width) == 0);
        CHECK(chirpid_width() == width);
        drive_gather();
        drive_logmel();
        drive_median();
        drive_narrow();
        drive_resample();
        drive_wav();
        drive_wavrows();
    }
    std::puts("driven");
    return 0;
}
