# The communicator suite under mpirun, and jobs in which a rank fails.
add_executable(mpi_communicator_test mpi_communicator_test.cc communicator_suite.cc)
target_link_libraries(mpi_communicator_test PRIVATE annulus_parallel GTest::gtest GTest::gmock)
set_target_properties(mpi_communicator_test PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)

# annulus_mpi_test(NAME RANKS SCENARIO STATUS TEXT): the job ends with STATUS and prints TEXT.
function(annulus_mpi_test name ranks scenario status text)
  add_test(NAME Mpi.${name}
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/expect_job.sh ${status} ${text}
                   ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks}
                   $<TARGET_FILE:mpi_communicator_test> ${scenario} --gtest_brief=1)
  # Open MPI refuses to run as root or with more ranks than cores, and binds ranks to cores that
  # other tests use as well. The leaks and lock orders that sanitizers find here are those inside the
  # MPI libraries, for a rank of ours is one thread.
  set(environment
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    ASAN_OPTIONS=detect_leaks=0
    TSAN_OPTIONS=detect_deadlocks=0)
  set_tests_properties(Mpi.${name} PROPERTIES
    PROCESSORS ${ranks} TIMEOUT 120 ENVIRONMENT "${environment}")
endfunction()

foreach(ranks 1 2 3 4)
  annulus_mpi_test(SuiteOn${ranks} ${ranks} suite 0 "PASSED")
endforeach()
annulus_mpi_test(AStoppedRankMeetsTheDeadline 2 stopped 2
                 "rank 0: exchange over MPI .*nothing came from rank 1.* within 0.3 s")
annulus_mpi_test(AFailedRankEndsTheJob 3 fails 2 "caught: no such file")
annulus_mpi_test(ARankThatUnwindsEndsTheJob 3 fails-without-abort any "caught: no such file")
annulus_mpi_test(MismatchedSizesAreAContractError 2 mismatched-sizes 2
                 "rank 1: exchange from rank 0: 12 bytes came where 16 were expected")
