// The choice of an instruction set.
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

namespace r2p {

namespace {

// Best first.
std::vector<Kernels> available() {
    std::vector<Kernels> sets;
#if defined(R2P_X86)
    if (__builtin_cpu_supports("avx2")) sets.push_back(avx2());
    if (__builtin_cpu_supports("ssse3")) sets.push_back(ssse3());
#elif defined(R2P_NEON)
    sets.push_back(neon());
#endif
    sets.push_back(scalar());
    return sets;
}

Kernels choose() {
    const std::vector<Kernels> sets = available();
    const char* const wanted = std::getenv("R2P_INSTRUCTION_SET");
    if (wanted == nullptr || *wanted == '\0') return sets.front();
    std::string names;
    for (const Kernels& set : sets) {
        if (set.name == std::string(wanted)) return set;
        names += (names.empty() ? "" : ", ") + std::string(set.name);
    }
    throw std::invalid_argument("R2P_INSTRUCTION_SET is " + std::string(wanted) +
                                "; this processor has " + names +
                                "; name one of these or unset it");
}

}  // namespace

const Kernels& kernels() {
    static const Kernels chosen = choose();
    return chosen;
}

}  // namespace r2p
