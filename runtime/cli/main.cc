// The executable; commands.h has the rest.
#include "runtime/cli/commands.h"

int main(int argc, char** argv) { return annulus::runtime::RunCommand(argc, argv); }
