/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#pragma once

#include "kernel.h"

/* A number that nobody can foretell. */
const volatile __u64 SEED;
