// SPDX-License-Identifier: MIT
// Who asks by operator new is who wrote it.
#include <string>
#include <vector>

__attribute__((noinline)) static int *one()
{
    return new int[1000]; // line: new
}

__attribute__((noinline)) static std::size_t many()
{
    std::vector<std::string> v;
    for (int i = 0; i < 100; i++)
        v.push_back(std::string(200, 'x')); // line: push_back
    return v.size();
}

int main()
{
    int *p = one();
    std::size_t n = many();
    delete[] p;
    return n == 0;
}
