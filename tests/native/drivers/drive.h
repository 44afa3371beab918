// Calls every function of the library under the sanitizers. One file per area.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(claim)                                                             \
    do {                                                                         \
        if (!(claim)) {                                                          \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim); \
            std::exit(1);                                                        \
        }                                                                        \
    } while (0)

// Called once at each vector width.
void drive_gather();
void drive_logmel();
void drive_median();
void drive_narrow();
void drive_resample();
void drive_wav();
void drive_wavrows();
